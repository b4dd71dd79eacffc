//! Generated Rust bindings of `wit/task.wit`. Imports are implemented in `host_imports`, exports called in
//! `instance`.
#![allow(missing_docs, unreachable_pub, reason = "generated; the WIT file documents every item")]

/// The world of suspendable plugins; it shares the imports of the other world.
pub(crate) mod suspendable {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "suspendable-plugin",
        with: {
            "wasmill:task/run": super::wasmill::task::run,
            "wasmill:task/failures": super::wasmill::task::failures,
        },
        exports: { default: async },
    });
}

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "plugin",
    imports: {
        "wasmill:task/run.save": async | trappable,
        "wasmill:task/run.restore": async | trappable,
        "wasmill:task/run.sleep": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
