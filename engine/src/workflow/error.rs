use super::node::Place;
use std::fmt;

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident $code:literal;)*) => {
        /// What is wrong with a document.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Problem { $($(#[$doc])* $variant,)* }

        impl Problem {
            /// All problems.
            pub const ALL: &'static [Problem] = &[$(Problem::$variant,)*];

            /// Code of the problem's help page.
            pub fn code(self) -> &'static str {
                match self { $(Problem::$variant => $code,)* }
            }
        }
    };
}

problems! {
    /// Too many bytes, too many nodes, or nested too deeply.
    TooLarge "AOS-E201";
    /// Not UTF-8.
    Encoding "AOS-E202";
    /// Neither YAML nor JSON.
    Syntax "AOS-E203";
    /// YAML, but with anchors, tags or something else that would hide what the document says.
    Feature "AOS-E204";
    /// A key twice in one mapping.
    DuplicateKey "AOS-E205";
    /// A number that JSON cannot hold.
    Number "AOS-E206";
    /// A property that nothing defines.
    UnknownProperty "AOS-E207";
    /// A property that must be there is not.
    MissingProperty "AOS-E208";
    /// Part of the specification that this version does not run.
    NotSupported "AOS-E209";
    /// A value of another type.
    WrongType "AOS-E210";
    /// A text that does not have its form: a version, a name, a duration, a URI.
    Form "AOS-E211";
    /// An expression that does not compile.
    Expression "AOS-E212";
    /// A variable that cannot be seen where it is used.
    Variable "AOS-E213";
    /// `then` leads to a task that is not in the block.
    Target "AOS-E214";
    /// Two tasks or cases of one name in one block.
    DuplicateName "AOS-E215";
    /// A task that says two things to do, or none.
    Kind "AOS-E216";
    /// A list that must have something in it.
    Empty "AOS-E217";
    /// A switch with two cases without condition.
    TwoDefaults "AOS-E218";
    /// `raise` names an error that `use.errors` does not have.
    UnknownError "AOS-E219";
    /// `call` names a skill that is not registered.
    UnknownSkill "AOS-E220";
    /// A name that `use` does not have: a retry policy, a timeout, a function.
    UnknownReference "AOS-E221";
    /// A schema that is none.
    Schema "AOS-E222";
    /// A function that calls itself.
    Recursion "AOS-E223";
    /// Arguments of a call that can only fail.
    Argument "AOS-E224";
}

/// Why a document is refused, and where. Nothing of a refused document is run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct DocumentError {
    /// What kind of problem.
    pub problem: Problem,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What could stand there, where that says more than the message.
    pub expected: Option<String>,
    /// What stands there, where that says more than the message.
    pub found: Option<String>,
    /// What helps to find and mend it; read by [`DocumentError::suggestion`] and [`DocumentError::path`].
    hint: Option<Box<Hint>>,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Hint {
    suggestion: Option<String>,
    path: Option<String>,
    /// What else is wrong with the same part of the document.
    more: Vec<DocumentError>,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )?;
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}"),
            (Some(expected), None) => write!(f, ": expected {expected}"),
            (None, Some(found)) => write!(f, ": found {found}"),
            (None, None) => Ok(()),
        }
    }
}

impl DocumentError {
    /// What was probably meant, where one name is close to another.
    pub fn suggestion(&self) -> Option<&str> {
        self.hint.as_ref()?.suggestion.as_deref()
    }

    /// JSON pointer of what stands at the place, where the document could be read as far as that.
    pub fn path(&self) -> Option<&str> {
        self.hint.as_ref()?.path.as_deref()
    }

    /// The problem and what else was found beside it, each by itself.
    pub fn apart(mut self) -> Vec<DocumentError> {
        let more = self
            .hint
            .as_mut()
            .map(|hint| std::mem::take(&mut hint.more));
        let mut all = vec![self];
        all.extend(more.into_iter().flatten().flat_map(DocumentError::apart));
        all
    }

    /// The first of several problems, with the others beside it.
    pub(super) fn first(
        problems: impl IntoIterator<Item = DocumentError>,
    ) -> Option<DocumentError> {
        let mut problems = problems.into_iter();
        let mut first = problems.next()?;
        let more: Vec<DocumentError> = problems.collect();
        if !more.is_empty() {
            first.hint.get_or_insert_default().more.extend(more);
        }
        Some(first)
    }

    pub(super) fn found_at(&mut self, path: Option<String>) {
        if path.is_some() {
            self.hint.get_or_insert_default().path = path;
        }
    }

    /// Code of the error's help page.
    pub fn code(&self) -> &'static str {
        self.problem.code()
    }

    pub(super) fn new(problem: Problem, at: Place, message: impl Into<String>) -> DocumentError {
        DocumentError {
            problem,
            line: at.line,
            column: at.column,
            message: message.into(),
            expected: None,
            found: None,
            hint: None,
        }
    }

    /// Suggests the one of `names` that `written` is close to.
    pub(super) fn suggest<'n>(
        mut self,
        written: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> DocumentError {
        let near = |name: &&str| {
            let distance = strsim::damerau_levenshtein(written, name);
            (distance > 0 && distance * 3 <= name.chars().count().max(3)).then_some(distance)
        };
        let near = names
            .into_iter()
            .filter_map(|name| near(&name).map(|d| (d, name)));
        if let Some((_, name)) = near.min() {
            self.hint.get_or_insert_default().suggestion = Some(name.to_owned());
        }
        self
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> DocumentError {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn found(mut self, found: impl Into<String>) -> DocumentError {
        self.found = Some(found.into());
        self
    }

    /// The call of a task has arguments that can only fail.
    pub(crate) fn misgiven(task: &super::Task, why: String) -> DocumentError {
        let at = Place {
            line: task.line,
            column: task.column,
        };
        let mut error = DocumentError::new(Problem::Argument, at, why);
        error.found_at(Some(task.reference.clone()));
        error
    }

    pub(super) fn not_supported(at: Place, what: impl fmt::Display) -> DocumentError {
        DocumentError::new(
            Problem::NotSupported,
            at,
            format!("{what} is not supported yet"),
        )
    }
}
