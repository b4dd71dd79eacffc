//! Plugins of any size from a small generator: the same bytes for the same seed.
//!
//! A large plugin costs compile time, so the functions do real work: a few hundred bytes each with branches, loops,
//! memory, integers and floats, direct calls and calls through a table, as a compiler would emit; and data that is not
//! zeros. The kind is `module`; a run returns `ok`.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, ImportSection, InstructionSink, MemArg, MemArgTarget,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

/// The size of a plugin.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of functions.
    pub(crate) code: usize,
    /// Bytes of initial data.
    pub(crate) data: usize,
}

/// A small plugin, like a Rust program without dependencies.
pub(crate) const SMALL: Size = Size { code: 40 << 10, data: 20 << 10 };
/// A large plugin, like an interpreter with its library.
pub(crate) const LARGE: Size = Size { code: 6 << 20, data: 24 << 20 };

/// Where the data starts; functions write below.
const DATA_START: i32 = 64 << 10;
/// The result of a run, behind the record that points at it.
const ANSWER: &[u8] = b"ok\n";
const PAGE_BYTES: usize = 64 << 10;
/// Function types, in the order of the section.
const FD_WRITE: u32 = 0;
const START: u32 = 1;
const WORK: u32 = 2;
/// Function indices start after the imported one.
const IMPORTS: u32 = 1;
/// The locals of a function: two parameters, the first of which limits the call depth; integers up to the fifth local;
/// and these.
const DEPTH: u32 = 0;
const INTEGERS: u32 = 5;
const WIDE: u32 = 5;
const FLOAT: u32 = 6;
const ROUNDS: u32 = 7;

/// Generates a plugin of about this size.
pub(crate) fn plugin(size: Size, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1 << 40);
    let mut code = CodeSection::new();
    let mut functions = FunctionSection::new();
    let mut count = 0;
    while code.byte_len() < size.code {
        code.function(&work(&mut random, count));
        functions.function(WORK);
        count += 1;
    }
    code.function(&start(count));
    functions.function(START);

    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, IMPORTS + count);
    let mut elements = ElementSection::new();
    let table: Vec<_> = (0..count).map(|function| IMPORTS + function).collect();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(table.into()));

    let mut module = Module::new();
    module
        .section(&types())
        .section(&imports())
        .section(&functions)
        .section(TableSection::new().table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: u64::from(count),
            maximum: Some(u64::from(count)),
            shared: false,
        }))
        .section(MemorySection::new().memory(MemoryType {
            minimum: (1 + size.data.div_ceil(PAGE_BYTES)) as u64,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        }))
        .section(&exports)
        .section(&elements)
        .section(&code)
        .section(&data(&mut random, size.data));
    module.finish()
}

fn types() -> TypeSection {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([], []);
    types.ty().function([ValType::I32; 2], [ValType::I32]);
    types
}

fn imports() -> ImportSection {
    let mut imports = ImportSection::new();
    imports.import("wasi_snapshot_preview1", "fd_write", EntityType::Function(FD_WRITE));
    imports
}

/// The result and the record that points at it, then bytes that do not repeat.
fn data(random: &mut Random, bytes: usize) -> DataSection {
    let mut data = Vec::with_capacity(bytes + 8);
    data.extend_from_slice(&(DATA_START + 8).to_le_bytes());
    data.extend_from_slice(&(ANSWER.len() as u32).to_le_bytes());
    data.extend_from_slice(ANSWER);
    while data.len() < bytes {
        data.extend_from_slice(&random.next().to_le_bytes());
    }
    data.truncate(bytes);
    let mut section = DataSection::new();
    section.active(0, &ConstExpr::i32_const(DATA_START), data);
    section
}

/// The main function: does a little work, then returns the result.
fn start(functions: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.i32_const(1).i32_const(7).call(IMPORTS + functions - 1).drop();
    code.i32_const(1).i32_const(DATA_START).i32_const(1).i32_const(0).call(0).drop().end();
    function
}

/// A function; it calls only earlier ones, and only while its depth lasts.
fn work(random: &mut Random, functions_before: u32) -> Function {
    let mut function = Function::new([
        (INTEGERS - 2, ValType::I32),
        (1, ValType::I64),
        (1, ValType::F64),
        (1, ValType::I32),
    ]);
    let statements = 10 + random.below(30);
    let mut body = Body { random, functions_before, code: function.instructions() };
    body.statements(statements, 2);
    body.code.local_get(2).local_get(1).i32_xor().local_get(3).i32_add();
    body.code.local_get(WIDE).i32_wrap_i64().i32_add().local_get(FLOAT).i32_trunc_sat_f64_s().i32_xor().end();
    function
}

struct Body<'a> {
    random: &'a mut Random,
    functions_before: u32,
    code: InstructionSink<'a>,
}

impl Body<'_> {
    fn statements(&mut self, count: u32, nesting: u32) {
        for _ in 0..count {
            self.statement(nesting);
        }
    }

    fn statement(&mut self, nesting: u32) {
        match self.random.below(if nesting > 0 { 12 } else { 7 }) {
            0..=2 => self.arithmetic(),
            3 => self.load(),
            4 => self.store(),
            5 => self.wide(),
            6 => self.float(),
            7 | 8 => self.branch(nesting - 1),
            9 => self.repeat(),
            _ => self.call(),
        }
    }

    /// Any integer local or parameter except the depth.
    fn integer(&mut self) -> u32 {
        1 + self.random.below(INTEGERS - 1)
    }

    fn get_integer(&mut self) {
        let integer = self.integer();
        self.code.local_get(integer);
    }

    fn set_integer(&mut self) {
        let integer = self.integer();
        self.code.local_set(integer);
    }

    fn arithmetic(&mut self) {
        self.get_integer();
        if self.random.below(2) == 0 {
            self.get_integer();
        } else {
            self.code.i32_const(self.random.next() as i32 >> 12);
        }
        match self.random.below(6) {
            0 => self.code.i32_add(),
            1 => self.code.i32_sub(),
            2 => self.code.i32_mul(),
            3 => self.code.i32_xor(),
            4 => self.code.i32_shl(),
            _ => self.code.i32_shr_u(),
        };
        self.set_integer();
    }

    fn address(&mut self) -> MemArg {
        self.get_integer();
        self.code.i32_const(0x7ff8).i32_and();
        MemArg {
            offset: u64::from(self.random.below(0x8000)),
            align: 2,
            target: MemArgTarget::default(),
            ordering: None,
        }
    }

    fn load(&mut self) {
        let address = self.address();
        self.code.i32_load(address);
        self.set_integer();
    }

    fn store(&mut self) {
        let address = self.address();
        self.get_integer();
        self.code.i32_store(address);
    }

    fn wide(&mut self) {
        let factor = self.random.next() as i64;
        self.code.local_get(WIDE).i64_const(factor).i64_mul();
        self.get_integer();
        self.code.i64_extend_i32_u().i64_add().local_set(WIDE);
    }

    fn float(&mut self) {
        self.code.local_get(FLOAT).f64_const(1.25.into()).f64_mul();
        self.get_integer();
        self.code.f64_convert_i32_s().f64_add().local_set(FLOAT);
    }

    fn branch(&mut self, nesting: u32) {
        self.get_integer();
        self.get_integer();
        self.code.i32_lt_s().if_(BlockType::Empty);
        let statements = 1 + self.random.below(4);
        self.statements(statements, nesting);
        self.code.else_();
        self.statements(1, nesting);
        self.code.end();
    }

    /// A loop with a few iterations and no loop inside: all loops count with the same local.
    fn repeat(&mut self) {
        self.code.i32_const(3).local_set(ROUNDS).loop_(BlockType::Empty);
        let statements = 1 + self.random.below(3);
        self.statements(statements, 0);
        self.code.local_get(ROUNDS).i32_const(1).i32_sub().local_tee(ROUNDS);
        self.code.i32_const(0).i32_gt_s().br_if(0).end();
    }

    fn call(&mut self) {
        if self.functions_before == 0 {
            return;
        }
        let callee = self.random.below(self.functions_before);
        self.code.local_get(DEPTH).if_(BlockType::Empty).local_get(DEPTH).i32_const(1).i32_sub();
        self.get_integer();
        if self.random.below(2) == 0 {
            self.code.call(IMPORTS + callee);
        } else {
            self.code.i32_const(callee as i32).call_indirect(0, WORK);
        }
        self.set_integer();
        self.code.end();
    }
}

/// Pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() >> 32) as u32 % bound
    }
}
