;; The smallest possible plugin: returns four letters, which replace "TEXT".
(component
  (type $types-type (instance
    (type $kind-type (enum "io" "invalid-input" "other"))
    (export "failure-kind" (type $kind (eq $kind-type)))
    (type $retry-type (variant (case "never") (case "after" u64)))
    (export "retry" (type $retry (eq $retry-type)))
    (type $option (option $retry))
    (type $failure-type (record (field "kind" $kind) (field "message" string) (field "retry" $option)))
    (export "failure" (type (eq $failure-type)))))
  (import "wasmill:task/types@0.2.0" (instance $types (type $types-type)))
  (alias export $types "failure" (type $failure))
  (core module $module
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "run") (param i32 i32) (result i32)
      i32.const 16)
    ;; A result that is ok, at 16: its text is at 64, 4 bytes.
    (data (i32.const 16) "\00\00\00\00\00\00\00\00\40\00\00\00\04\00\00\00")
    (data (i32.const 64) "TEXT"))
  (core instance $core (instantiate $module))
  (func $run (param "input" string) (result (result string (error $failure)))
    (canon lift (core func $core "run") (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
  (instance $job (export "run" (func $run)))
  (export "wasmill:task/job@0.2.0" (instance $job)))
