//! A small allocator, for guests that run one task and are gone.
//!
//! It takes whole pages from the end of the memory and cuts blocks off them, of 16, 24, 32, 48, 64, … bytes. A freed
//! block is used again for blocks of its size; nothing is joined. That takes a kilobyte of code and touches no more
//! pages than it hands out, where that of the standard library writes to the end of what it reserves. libc keeps its
//! own allocator, which takes pages in the same way.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

#[cfg(target_feature = "atomics")]
compile_error!("this allocator is for guests without threads: switch the feature `allocator` off");

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(UnsafeCell::new(Heap::new()));

struct Allocator(UnsafeCell<Heap>);

// SAFETY: a guest has one thread.
unsafe impl Sync for Allocator {}

// SAFETY: blocks do not overlap, have at least the size of their layout, and stay where they are until they are freed;
// no method calls another one while it borrows the heap.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: there is no other reference to it.
        unsafe { (*self.0.get()).alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: there is no other reference to it.
        unsafe { (*self.0.get()).free(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises a valid size.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: there is no other reference to the heap.
        unsafe {
            if (*self.0.get()).resizes(block, layout, new_layout) {
                return block;
            }
            let new = (*self.0.get()).alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                (*self.0.get()).free(block, layout);
            }
            new
        }
    }
}

const PAGE_BYTES: usize = 64 << 10;
const CLASSES: usize = 55;
/// A larger alignment is rare: such a block is never used again.
const ALIGN_MAX: usize = 16;

struct Heap {
    /// The freed blocks of each class: each begins with the address of the next.
    free: [*mut u8; CLASSES],
    /// What is not cut yet.
    next: usize,
    end: usize,
}

impl Heap {
    const fn new() -> Self {
        Self { free: [ptr::null_mut(); CLASSES], next: 0, end: 0 }
    }

    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            return self.cut(layout.size(), layout.align());
        };
        let free = self.free[class];
        if free.is_null() {
            return self.cut(block_bytes(class), block_align(class));
        }
        // SAFETY: a freed block begins with the address of the next one.
        self.free[class] = unsafe { free.cast::<*mut u8>().read() };
        free
    }

    /// `block` was allocated with this layout, and is not used any more.
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        if let Some(class) = class(layout) {
            // SAFETY: it has at least 16 bytes and an alignment of 8.
            unsafe { block.cast::<*mut u8>().write(self.free[class]) };
            self.free[class] = block;
        }
    }

    /// Returns true if the block has the size of the new layout, or has grown to it: the last block can.
    fn resizes(&mut self, block: *mut u8, old: Layout, new: Layout) -> bool {
        let (Some(old), Some(new)) = (class(old), class(new)) else { return false };
        let start = block.addr();
        let is_last = start + block_bytes(old) == self.next;
        let fits = start.is_multiple_of(block_align(new)) && self.end - start >= block_bytes(new);
        if old != new && is_last && fits {
            self.next = start + block_bytes(new);
            return true;
        }
        old == new
    }

    /// Cuts a block off the pages, and takes more of them if they do not suffice.
    fn cut(&mut self, bytes: usize, align: usize) -> *mut u8 {
        let mut start = self.next.next_multiple_of(align);
        if start.checked_add(bytes).is_none_or(|end| end > self.end) {
            let pages = bytes.div_ceil(PAGE_BYTES) + usize::from(align > PAGE_BYTES);
            let before = core::arch::wasm32::memory_grow(0, pages);
            if before == usize::MAX {
                return ptr::null_mut();
            }
            let taken = before * PAGE_BYTES;
            if taken != self.end {
                self.next = taken;
            }
            self.end = taken + pages * PAGE_BYTES;
            start = self.next.next_multiple_of(align);
        }
        self.next = start + bytes;
        ptr::with_exposed_provenance_mut(start)
    }
}

/// Returns the class of a layout: even ones have blocks of 16, 32, 64, … bytes, odd ones of 24, 48, 96, …
fn class(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN_MAX {
        return None;
    }
    let size = layout.size().max(ALIGN_MAX);
    let size = if layout.align() == ALIGN_MAX { size.next_power_of_two() } else { size };
    if size == ALIGN_MAX {
        return Some(0);
    }
    let below = (size - 1).ilog2() as usize;
    let class = 2 * (below - 4) + if size <= 3 << (below - 1) { 1 } else { 2 };
    (class < CLASSES).then_some(class)
}

fn block_bytes(class: usize) -> usize {
    (if class.is_multiple_of(2) { 16 } else { 24 }) << (class / 2)
}

fn block_align(class: usize) -> usize {
    if class.is_multiple_of(2) { ALIGN_MAX } else { 8 }
}
