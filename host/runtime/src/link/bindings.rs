//! Generated Rust bindings of `wit/task.wit`. Imports are implemented in `host_imports`, exports called in
//! `instance`.
#![allow(missing_docs, unreachable_pub, reason = "generated; the WIT file documents every item")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "imports",
    with: { "wasi:io": wasmtime_wasi::p2::bindings::io },
    imports: {
        "wasmill:task/host.dependencies": async | trappable,
        "wasmill:task/host.next-event": async | trappable,
        "wasmill:task/host.submit-children": async | trappable,
        "wasmill:task/host.children": async | trappable,
        "wasmill:task/host.save": async | trappable,
        "wasmill:task/host.restore": async | trappable,
        "wasmill:task/host.sleep": async | trappable,
        default: trappable,
    },
});

/// The world of plugins that run a task in one call.
pub(crate) mod plugin {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "plugin",
        with: {
            "wasmill:task/host": super::wasmill::task::host,
            "wasmill:task/types": super::wasmill::task::types,
        },
        exports: { default: async },
    });
}

/// The world of suspendable plugins.
pub(crate) mod suspendable {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "suspendable-plugin",
        with: {
            "wasmill:task/host": super::wasmill::task::host,
            "wasmill:task/types": super::wasmill::task::types,
        },
        exports: { default: async },
    });
}
