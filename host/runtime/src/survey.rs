//! Reads what a WebAssembly file contains: names, and the sizes that decide where it runs.
//!
//! Called by `inspect`. Judges nothing.

use wasmtime::wasmparser::{
    BinaryReaderError, ComponentExternalKind, Encoding, ExternalKind, Instance, MemoryType, Parser, Payload,
    TypeRef,
};

/// What a file contains.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Whether it is a component, not a core module.
    pub(crate) is_component: bool,
    /// The names of what it imports: `wasi:io/poll@0.2.6`, or `module.name` for a core module.
    pub(crate) imports: Vec<String>,
    /// The names of what it exports.
    pub(crate) exports: Vec<String>,
    /// Whether a core module exports its memory, as preview 1 wants it.
    pub(crate) exports_memory: bool,
    /// Whether some memory is shared between threads.
    pub(crate) has_shared_memory: bool,
    /// Whether it is a library to be linked into a program at run time.
    pub(crate) is_shared_library: bool,
    /// Bytes of code and initial data; names and debug information do not count.
    pub(crate) program_bytes: u64,
    /// Core modules inside, and how often they are instantiated.
    pub(crate) modules: u32,
    pub(crate) instances: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// Bytes of all memories together at the start.
    pub(crate) memory_bytes: u64,
    /// Elements of the largest table at the start.
    pub(crate) table_elements: u64,
    depth: usize,
}

impl Survey {
    /// Reads a whole file.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut survey = Self::default();
        survey.read(bytes)?;
        Ok(survey)
    }

    /// Reads as much of a file as can be read.
    pub(crate) fn of_as_much_as_possible(bytes: &[u8]) -> Self {
        let mut survey = Self::default();
        // The caller already knows what is wrong with the rest.
        let _ = survey.read(bytes);
        survey
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), BinaryReaderError> {
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::Version { encoding, .. } => self.enter(*encoding),
                Payload::End(_) => self.depth = self.depth.saturating_sub(1),
                _ if self.depth == 1 => self.read_names(&payload)?,
                _ => {}
            }
            self.read_sizes(payload)?;
        }
        Ok(())
    }

    fn enter(&mut self, encoding: Encoding) {
        if self.depth == 0 {
            self.is_component = encoding == Encoding::Component;
        }
        if encoding == Encoding::Module {
            self.modules += 1;
        }
        self.depth += 1;
    }

    /// Reads the names of the outermost component or module.
    fn read_names(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.exports_memory |= export.kind == ExternalKind::Memory && export.name == "memory";
                    self.exports.push(export.name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    // Types are named beside what they are for.
                    if export.kind != ComponentExternalKind::Type {
                        self.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::CustomSection(section) => self.is_shared_library |= section.name() == "dylink.0",
            _ => {}
        }
        Ok(())
    }

    /// Reads the sizes of every core module, however deep.
    fn read_sizes(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Memory(memory) = import?.ty {
                        self.has_shared_memory |= memory.shared;
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.add_memory(memory?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables += 1;
                    self.table_elements = self.table_elements.max(table?.ty.initial);
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances += u32::from(matches!(instance?, Instance::Instantiate { .. }));
                }
            }
            Payload::CodeSectionStart { size, .. } => self.program_bytes += u64::from(size),
            Payload::DataSection(section) => {
                let range = section.range();
                self.program_bytes += (range.end - range.start) as u64;
            }
            _ => {}
        }
        Ok(())
    }

    fn add_memory(&mut self, memory: MemoryType) {
        let page_bytes = 1_u64 << memory.page_size_log2.unwrap_or(16);
        self.memories += 1;
        self.has_shared_memory |= memory.shared;
        self.memory_bytes = self.memory_bytes.saturating_add(memory.initial.saturating_mul(page_bytes));
    }
}
