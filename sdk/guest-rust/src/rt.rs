//! What the bindings need at run time. In a plugin of `wit-bindgen`, its crate does this.

pub use alloc::string::String;
pub use alloc::vec::Vec;

pub use bitflags;

/// Keeps [`cabi_realloc`] in the plugin; the bindings refer to this.
pub fn maybe_link_cabi_realloc() {
    #[cfg(target_arch = "wasm32")]
    {
        #[used]
        static KEPT: unsafe extern "C" fn(*mut u8, usize, usize, usize) -> *mut u8 = cabi_realloc;
    }
}

/// Allocates what the host hands over, such as the input.
///
/// It replaces that of libc: what comes from here is freed by the allocator of Rust.
///
/// # Safety
///
/// As for `realloc` of the canonical ABI: `old` is an allocation of `old_size` bytes with this alignment, or
/// `old_size` is 0.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    new_size: usize,
) -> *mut u8 {
    use alloc::alloc::{Layout, alloc, realloc};

    // SAFETY: the ABI promises a valid alignment, and sizes below 4 GiB.
    let new = unsafe {
        match (old_size, new_size) {
            (0, 0) => return core::ptr::without_provenance_mut(align),
            (0, _) => alloc(Layout::from_size_align_unchecked(new_size, align)),
            _ => realloc(old, Layout::from_size_align_unchecked(old_size, align), new_size),
        }
    };
    if new.is_null() {
        // A trap, without the text of a panic.
        core::arch::wasm32::unreachable();
    }
    new
}

/// Runs the static constructors, the first time only; each exported function calls this.
#[cfg(target_arch = "wasm32")]
pub fn run_ctors_once() {
    use core::sync::atomic::{AtomicBool, Ordering};

    unsafe extern "C" {
        // The linker makes it. If nothing calls it, the linker lets each exported function call it, each time.
        fn __wasm_call_ctors();
    }
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        // SAFETY: once, and before anything else of the plugin.
        unsafe { __wasm_call_ctors() };
    }
}

/// Memory for a list on its way to the host, freed when this is dropped.
#[derive(Debug)]
pub struct Cleanup {
    memory: core::ptr::NonNull<u8>,
    layout: core::alloc::Layout,
}

impl Cleanup {
    /// Allocates a list; an empty one needs no memory.
    pub fn new(layout: core::alloc::Layout) -> (*mut u8, Option<Self>) {
        if layout.size() == 0 {
            return (core::ptr::null_mut(), None);
        }
        // SAFETY: its size is not 0.
        let memory = unsafe { alloc::alloc::alloc(layout) };
        match core::ptr::NonNull::new(memory) {
            Some(memory) => (memory.as_ptr(), Some(Self { memory, layout })),
            None => alloc::alloc::handle_alloc_error(layout),
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and nobody keeps a pointer to it.
        unsafe { alloc::alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}
