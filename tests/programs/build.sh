#!/usr/bin/env bash
# Builds the programs of list.txt for WASI into the user's cache folder; `make programs` calls it.
# What is there already is left alone, so that a second call takes no time.
set -euo pipefail
cd "$(dirname "$0")"

folder=${XDG_CACHE_HOME:-$HOME/.cache}/wasmill/programs
mkdir -p "$folder"
# Shared by all of them, and deleted in the end: dependencies that they have in common are compiled once.
export CARGO_TARGET_DIR=$folder/target
# They are to run, not to win races: optimised less, they build in half of the time.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_STRIP=true CARGO_PROFILE_RELEASE_DEBUG=false
# These would reach the guests, too.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

while read -r plugin package flags; do
  case $plugin in '' | '#'*) continue ;; esac
  built=$folder/$plugin.built
  line="$plugin $package $flags"
  if [ -f "$folder/$plugin.wasm" ] && [ "$(cat "$built" 2>/dev/null)" = "$line" ]; then continue; fi
  echo "building $package"
  began=$SECONDS
  rm -f "$built"
  # shellcheck disable=SC2086 # the flags are words
  cargo install --quiet --locked --force --target wasm32-wasip2 --root "$folder/root" "$package" $flags </dev/null
  mv "$folder/root/bin/$plugin.wasm" "$folder/$plugin.wasm"
  echo "$line" >"$built"
  echo "built $plugin.wasm in $((SECONDS - began)) s"
done <list.txt
rm -rf "$folder/target" "$folder/root"
echo "third-party programs are in $folder"
