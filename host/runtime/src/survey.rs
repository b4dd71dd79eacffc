//! Reads what a WebAssembly file contains: names, and the sizes that decide where it runs.
//!
//! Called by `inspect`. Judges nothing.

use wasmtime::wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, ExternalKind, Instance, MemoryType, Parser, Payload, TypeRef,
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
    /// Core modules inside.
    pub(crate) modules: u32,
    /// What an instance of the whole is made of.
    pub(crate) parts: Parts,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// Bytes of all memories together at the start.
    pub(crate) memory_bytes: u64,
    /// Elements of the largest table at the start, and of all tables together.
    pub(crate) table_elements: u64,
    pub(crate) table_elements_total: u64,
    /// The component or module that is being read, within those that it is defined in.
    levels: Vec<Level>,
    /// The most that a component was found to be made of.
    largest: Parts,
}

/// What an instance is made of, with all instances within it. A component of a kilobyte can have millions of
/// parts: each level of it that instantiates the one below twice doubles them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Instances of core modules.
    pub(crate) core_instances: u64,
    /// Definitions of every kind: instances, functions, names for parts of others.
    pub(crate) definitions: u64,
}

impl Parts {
    /// What nobody knows may be of any size.
    const UNKNOWN: Self = Self { core_instances: u64::MAX, definitions: u64::MAX };

    fn add(&mut self, other: Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.definitions = self.definitions.saturating_add(other.definitions);
    }

    fn max(self, other: Self) -> Self {
        Self {
            core_instances: self.core_instances.max(other.core_instances),
            definitions: self.definitions.max(other.definitions),
        }
    }
}

/// One component or module while it is read.
#[derive(Debug, Default)]
struct Level {
    is_component: bool,
    parts: Parts,
    /// What instances of the components that it knows are made of, by their index.
    components: Vec<Parts>,
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
                Payload::End(_) => self.leave(),
                _ if self.levels.len() == 1 => self.read_names(&payload)?,
                _ => {}
            }
            self.read_parts(&payload)?;
            self.read_sizes(payload)?;
        }
        Ok(())
    }

    fn enter(&mut self, encoding: Encoding) {
        let is_component = encoding == Encoding::Component;
        if self.levels.is_empty() {
            self.is_component = is_component;
        }
        if !is_component {
            self.modules += 1;
        }
        self.levels.push(Level { is_component, ..Level::default() });
    }

    fn leave(&mut self) {
        let Some(Level { is_component, parts, .. }) = self.levels.pop() else { return };
        self.largest = self.largest.max(parts);
        match self.levels.last_mut() {
            Some(outer) if is_component => outer.components.push(parts),
            Some(_) => {}
            None => self.parts = parts,
        }
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

    /// Counts what the component that is being read defines, with what it instantiates.
    fn read_parts(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        let largest = self.largest;
        let Some((level, outer)) = self.levels.split_last_mut() else { return Ok(()) };
        if !level.is_component {
            return Ok(());
        }
        let one = Parts { core_instances: 0, definitions: 1 };
        let known = |components: &[Parts], index: u32| {
            components.get(index as usize).copied().unwrap_or(Parts::UNKNOWN)
        };
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    level.parts.add(match instance? {
                        Instance::Instantiate { .. } => Parts { core_instances: 1, definitions: 1 },
                        Instance::FromExports(exports) => {
                            Parts { core_instances: 0, definitions: 1 + exports.len() as u64 }
                        }
                    });
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    level.parts.add(one);
                    level.parts.add(match instance? {
                        ComponentInstance::Instantiate { component_index, .. } => {
                            known(&level.components, component_index)
                        }
                        ComponentInstance::FromExports(exports) => {
                            Parts { core_instances: 0, definitions: exports.len() as u64 }
                        }
                    });
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    level.parts.add(one);
                    match alias? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            let found = match count {
                                0 => known(&level.components, index),
                                count => outer
                                    .len()
                                    .checked_sub(count as usize)
                                    .map_or(Parts::UNKNOWN, |at| known(&outer[at].components, index)),
                            };
                            level.components.push(found);
                        }
                        // Whatever an instance hands out was defined before it.
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                            level.components.push(largest);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    level.parts.add(one);
                    if let ComponentTypeRef::Component(_) = import?.ty {
                        level.components.push(Parts::UNKNOWN);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    level.parts.add(one);
                    if export.kind == ComponentExternalKind::Component {
                        let exported = known(&level.components, export.index);
                        level.components.push(exported);
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                level.parts.add(Parts { core_instances: 0, definitions: u64::from(section.count()) });
            }
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
                    let elements = table?.ty.initial;
                    self.tables += 1;
                    self.table_elements = self.table_elements.max(elements);
                    self.table_elements_total = self.table_elements_total.saturating_add(elements);
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
