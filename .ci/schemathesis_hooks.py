"""Generates plugin bodies for schemathesis that often start with a valid header, so not all fail at the first byte."""

import schemathesis
from hypothesis import strategies as st

ANYTHING = st.binary(max_size=300)
MODULE = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"

schemathesis.openapi.media_type(
    "application/wasm",
    st.one_of(ANYTHING, ANYTHING.map(MODULE.__add__), ANYTHING.map(COMPONENT.__add__)),
    aliases=["application/octet-stream"],
)
