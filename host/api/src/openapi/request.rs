//! Specifies what an operation accepts.

use std::collections::HashMap;

use wasmill_access::Scope;

/// What the key of a request has to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Not even a key.
    Nothing,
    /// A key, whatever its scopes: a page calls operations that have needs of their own.
    Key,
    /// This scope.
    Scope(Scope),
    /// This scope; or `submit`, if the same key submitted the task of the path.
    Task(Scope),
    /// `submit`, for a copy of the task of the path, which the key may read.
    Copy,
    /// `submit` and `read`, for copies of any tasks.
    Copies,
}

impl Needs {
    /// Returns the scopes that suffice: all of one list.
    pub(crate) fn alternatives(self) -> Vec<Vec<Scope>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Key => vec![Vec::new()],
            Self::Scope(scope) => vec![vec![scope]],
            Self::Task(scope) => vec![vec![scope], vec![Scope::Submit]],
            Self::Copy => vec![vec![Scope::Submit]],
            Self::Copies => vec![vec![Scope::Submit, Scope::Read]],
        }
    }
}

/// Returns true for operations whose new tasks name the key, so that the audit need not.
pub(crate) fn is_submit(needs: Needs, bounds: Bounds) -> bool {
    needs == Needs::Scope(Scope::Submit) && bounds != Bounds::Task
}

/// How an operation keeps a key within its reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// It takes no key, and tells nothing of tasks and plugins.
    Nothing,
    /// A task outside is unknown: the layer says so before the handler is called.
    Task,
    /// A plugin outside is unknown, and cannot be changed: the layer says so, too.
    Plugin,
    /// Its handler reads and changes what the reach of the sender covers, and nothing else.
    Handler,
    /// It is a page: the operations that it calls are bounded.
    Page,
    /// A key with a reach is refused.
    Refused,
}

impl Bounds {
    /// Returns its name in the API document; `None` if there is nothing to say.
    pub(crate) fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Page => None,
            Self::Task => Some("task"),
            Self::Plugin => Some("plugin"),
            Self::Handler => Some("within"),
            Self::Refused => Some("refused"),
        }
    }
}

/// What an operation accepts.
#[derive(Debug)]
pub(crate) struct RequestSpec {
    /// The id of the operation.
    pub(crate) id: &'static str,
    pub(crate) needs: Needs,
    pub(crate) bounds: Bounds,
    pub(crate) params: Vec<Param>,
    /// Whether a body is read; otherwise it must be empty.
    pub(crate) has_body: bool,
    /// Whether the query may have any parameters, which others choose.
    pub(crate) takes_any_query: bool,
}

impl RequestSpec {
    /// Returns true if the answer to a read may have what tasks were given, have written or have returned.
    pub(crate) fn shows_contents(&self) -> bool {
        let lists = ["listTasks", "followAll", "followTask"];
        matches!(self.needs, Needs::Task(Scope::Read) | Needs::Scope(Scope::Read)) || lists.contains(&self.id)
    }
}

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    /// Whether it may be repeated.
    pub(crate) is_list: bool,
}

impl Param {
    /// Creates a parameter that appears at most once.
    pub(crate) fn single(name: &str) -> Self {
        Self { name: name.to_owned(), is_list: false }
    }
}

/// What each operation accepts, by path and method.
pub(crate) type RequestSpecs = HashMap<&'static str, HashMap<&'static str, RequestSpec>>;
