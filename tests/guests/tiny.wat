;; The smallest possible plugin: returns four letters, which replace "TEXT".
(component
  (type $failures-type (instance
    (type $variant (variant (case "io" string) (case "invalid-input" string) (case "other" string)))
    (export "failure" (type (eq $variant)))))
  (import "wasmill:task/failures@0.1.0" (instance $failures (type $failures-type)))
  (alias export $failures "failure" (type $failure))
  (core module $module
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
    (func (export "run") (param i32 i32) (result i32)
      i32.const 16)
    ;; A result that is ok, at 16: its text is at 64, 4 bytes.
    (data (i32.const 16) "\00\00\00\00\40\00\00\00\04\00\00\00\00\00\00\00")
    (data (i32.const 64) "TEXT"))
  (core instance $core (instantiate $module))
  (func $run (param "input" string) (result (result string (error $failure)))
    (canon lift (core func $core "run") (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
  (export "run-task" (func $run)))
