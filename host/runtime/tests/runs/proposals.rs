//! Interfaces of WASI proposals: `wasi:config` and `wasi:logging`.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_runtime::{Permissions, PluginConfig};

use crate::support::{Host, finish_with, plugin_config, runtime_of};

/// Returns a command that reads the variable `REGION`, and logs it if there is one, else the number of variables.
fn reader(logging: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "{logging}" (instance $logging
                (type $names (enum "trace" "debug" "info" "warn" "error" "critical"))
                (export "level" (type $level (eq $names)))
                (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
            (import "wasi:config/store@0.2.0-rc.1" (instance $config
                (type $cases (variant (case "upstream" string) (case "io" string)))
                (export "error" (type $error (eq $cases)))
                (export "get" (func (param "key" string) (result (result (option string) (error $error)))))
                (export "get-all" (func (result (result (list (tuple string string)) (error $error)))))))
            (core module $memory
                (memory (export "memory") 1)
                (data (i32.const 0) "REGIONshop1234")
                (global $next (mut i32) (i32.const 1024))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (global.get $next))
                    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7))
                        (i32.const -8)))
                    (local.get $at)))
            (core instance $m (instantiate $memory))
            (alias core export $m "memory" (core memory $mem))
            (alias core export $m "realloc" (core func $realloc))
            (core func $log (canon lower (func $logging "log") (memory $mem)))
            (core func $get (canon lower (func $config "get") (memory $mem) (realloc $realloc)))
            (core func $all (canon lower (func $config "get-all") (memory $mem) (realloc $realloc)))
            (core module $code
                (import "m" "memory" (memory 1))
                (import "h" "log" (func $log (param i32 i32 i32 i32 i32)))
                (import "h" "get" (func $get (param i32 i32 i32)))
                (import "h" "all" (func $all (param i32)))
                (func (export "run") (result i32)
                    (call $get (i32.const 0) (i32.const 6) (i32.const 64))
                    (if (i32.load8_u (i32.const 68))
                        (then (call $log (i32.const 3) (i32.const 6) (i32.const 4)
                            (i32.load (i32.const 72)) (i32.load (i32.const 76))))
                        (else (call $all (i32.const 64))
                            (call $log (i32.const 0) (i32.const 0) (i32.const 0)
                                (i32.const 10) (i32.load (i32.const 72)))))
                    (i32.const 0)))
            (core instance $i (instantiate $code
                (with "m" (instance $m))
                (with "h" (instance (export "log" (func $log)) (export "get" (func $get)) (export "all" (func $all))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $main (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $main)))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_guest_reads_its_variables_and_logs_with_a_level() {
    for logging in ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"] {
        for (variables, line) in
            [(&[("REGION", "eu")][..], "warn shop: eu\n"), (&[("A", "b"), ("C", "d")], "trace: 12\n")]
        {
            let env: BTreeMap<_, _> =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let permissions = Permissions { env, ..Permissions::default() };
            let runtime =
                runtime_of("reader", &reader(logging), PluginConfig { permissions, ..plugin_config() });
            let host = Arc::new(Host::default());
            assert_eq!(finish_with(&runtime, "reader", "null", &host).await.unwrap(), "");
            assert_eq!(host.log_text(), line);
        }
    }
}
