//! Summarizes a WebAssembly file: names, and the sizes that decide which engine runs it.
//!
//! Called by `inspect`. Judges nothing.

use wasmtime::wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Encoding, ExternalKind, Instance, MemoryType, Parser, Payload,
    TypeRef,
};

/// The summary of a file.
#[derive(Debug, Default)]
pub(crate) struct WasmSummary {
    /// Whether it is a component rather than a core module.
    pub(crate) is_component: bool,
    /// The names of its imports: `wasi:io/poll@0.2.6`, or `module.name` for a core module.
    pub(crate) imports: Vec<String>,
    /// The names of its exports.
    pub(crate) exports: Vec<String>,
    /// Whether a core module exports its memory, as preview 1 requires.
    pub(crate) exports_memory: bool,
    /// Whether a memory is shared between threads.
    pub(crate) has_shared_memory: bool,
    /// Whether it is a library for dynamic linking.
    pub(crate) is_shared_library: bool,
    /// Bytes of code and initial data, without names and debug information.
    pub(crate) program_bytes: u64,
    /// The number of core modules.
    pub(crate) modules: u32,
    /// What one instance of the whole consists of.
    pub(crate) parts: PartCounts,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// Initial bytes of all memories.
    pub(crate) memory_bytes: u64,
    /// Initial elements of the largest table, and of all tables together.
    pub(crate) table_elements: u64,
    pub(crate) table_elements_total: u64,
    /// The component or module being read, preceded by those that enclose it.
    scopes: Vec<Scope>,
    /// The maximum of the counts of any component so far.
    largest: PartCounts,
}

/// What an instance consists of, including all nested instances. A component of a kilobyte can have millions of
/// parts: each level that instantiates the one below twice doubles them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartCounts {
    /// Instances of core modules.
    pub(crate) core_instances: u64,
    /// Definitions of every kind: instances, functions, aliases.
    pub(crate) definitions: u64,
}

impl PartCounts {
    /// An unknown component counts as infinitely large.
    const UNKNOWN: Self = Self { core_instances: u64::MAX, definitions: u64::MAX };

    const ONE_DEFINITION: Self = Self::definitions(1);

    const fn definitions(definitions: u64) -> Self {
        Self { core_instances: 0, definitions }
    }

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

/// A component or module while it is read.
#[derive(Debug, Default)]
struct Scope {
    is_component: bool,
    parts: PartCounts,
    /// The counts of the components it can instantiate, by index.
    components: Vec<PartCounts>,
}

impl Scope {
    fn add_core_instance(&mut self, instance: &Instance<'_>) {
        self.parts.add(match instance {
            Instance::Instantiate { .. } => PartCounts { core_instances: 1, definitions: 1 },
            Instance::FromExports(exports) => PartCounts::definitions(1 + exports.len() as u64),
        });
    }

    /// Adds an instance of a component, with all that the component consists of.
    fn add_instance(&mut self, instance: &ComponentInstance<'_>) {
        self.parts.add(PartCounts::ONE_DEFINITION);
        self.parts.add(match instance {
            ComponentInstance::Instantiate { component_index, .. } => self.component(*component_index),
            ComponentInstance::FromExports(exports) => PartCounts::definitions(exports.len() as u64),
        });
    }

    /// Adds an alias; `outer` are the enclosing scopes, `largest` is the maximum of the counts so far.
    fn add_alias(&mut self, alias: &ComponentAlias<'_>, outer: &[Self], largest: PartCounts) {
        self.parts.add(PartCounts::ONE_DEFINITION);
        match *alias {
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let found = match count {
                    0 => self.component(index),
                    count => outer
                        .len()
                        .checked_sub(count as usize)
                        .map_or(PartCounts::UNKNOWN, |at| outer[at].component(index)),
                };
                self.components.push(found);
            }
            // Whatever an instance exports was defined before it.
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.components.push(largest);
            }
            _ => {}
        }
    }

    /// Adds an import; the counts of an imported component are unknown.
    fn add_import(&mut self, import: ComponentTypeRef) {
        self.parts.add(PartCounts::ONE_DEFINITION);
        if let ComponentTypeRef::Component(_) = import {
            self.components.push(PartCounts::UNKNOWN);
        }
    }

    /// Adds an export; an exported component has a new index.
    fn add_export(&mut self, export: &ComponentExport<'_>) {
        self.parts.add(PartCounts::ONE_DEFINITION);
        if export.kind == ComponentExternalKind::Component {
            self.components.push(self.component(export.index));
        }
    }

    /// Returns the counts of a component that this scope can instantiate.
    fn component(&self, index: u32) -> PartCounts {
        self.components.get(index as usize).copied().unwrap_or(PartCounts::UNKNOWN)
    }
}

impl WasmSummary {
    /// Reads a whole file.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut summary = Self::default();
        summary.read(bytes)?;
        Ok(summary)
    }

    /// Reads a file up to the first error.
    pub(crate) fn of_prefix(bytes: &[u8]) -> Self {
        let mut summary = Self::default();
        // The caller already knows the error.
        let _ = summary.read(bytes);
        summary
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), BinaryReaderError> {
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match &payload {
                Payload::Version { encoding, .. } => self.enter(*encoding),
                Payload::End(_) => self.leave(),
                _ if self.scopes.len() == 1 => self.read_names(&payload)?,
                _ => {}
            }
            self.read_parts(&payload)?;
            self.read_sizes(payload)?;
        }
        Ok(())
    }

    fn enter(&mut self, encoding: Encoding) {
        let is_component = encoding == Encoding::Component;
        if self.scopes.is_empty() {
            self.is_component = is_component;
        }
        if !is_component {
            self.modules += 1;
        }
        self.scopes.push(Scope { is_component, ..Scope::default() });
    }

    fn leave(&mut self) {
        let Some(Scope { is_component, parts, .. }) = self.scopes.pop() else { return };
        self.largest = self.largest.max(parts);
        match self.scopes.last_mut() {
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
                    // Types are exported only alongside what they are for.
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

    /// Counts what the current component defines and instantiates.
    fn read_parts(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        let largest = self.largest;
        let Some((scope, outer)) = self.scopes.split_last_mut() else { return Ok(()) };
        if !scope.is_component {
            return Ok(());
        }
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    scope.add_core_instance(&instance?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    scope.add_instance(&instance?);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    scope.add_alias(&alias?, outer, largest);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    scope.add_import(import?.ty);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    scope.add_export(&export?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                scope.parts.add(PartCounts::definitions(u64::from(section.count())));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the sizes of every core module, at any depth.
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
