//! Exit codes, the same for every tool of AOS.

use std::process::ExitCode;

/// What a command says by its exit code, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Exit {
    /// Done, or true.
    Yes,
    /// Nothing false found, but not everything could be checked.
    Undecided,
    /// A mismatch, a difference, a run or check that failed.
    No,
    /// A conflict, or a policy, forbids it.
    Refused,
    /// It is not there.
    NotFound,
    /// A limit or budget is exhausted.
    Limit,
    /// The command line, or a document, makes no sense.
    Usage,
    /// The input is damaged.
    Damaged,
    /// The disk, a lock or a permission.
    Environment,
    /// Stopped by Ctrl-C, resumable.
    Interrupted,
    /// Stopped by SIGTERM, resumable.
    Terminated,
    /// A bug in AOS.
    Bug,
}

impl Exit {
    /// All of them, by their numbers.
    pub const ALL: [Exit; 12] = [
        Exit::Yes,
        Exit::No,
        Exit::Usage,
        Exit::Refused,
        Exit::NotFound,
        Exit::Damaged,
        Exit::Environment,
        Exit::Undecided,
        Exit::Limit,
        Exit::Bug,
        Exit::Interrupted,
        Exit::Terminated,
    ];

    /// What it means, in a few words.
    pub fn means(self) -> &'static str {
        match self {
            Exit::Yes => "yes",
            Exit::No => "no: a mismatch, a difference, a check or run that failed",
            Exit::Usage => "the command line or a document makes no sense",
            Exit::Refused => "refused: a conflict or a policy",
            Exit::NotFound => "not found",
            Exit::Damaged => "damaged input",
            Exit::Environment => "environment: disk, lock, permission",
            Exit::Undecided => "undecided: nothing false found, not all could be checked",
            Exit::Limit => "a limit or budget is exhausted",
            Exit::Bug => "a bug in AOS",
            Exit::Interrupted => "stopped by SIGINT, resumable",
            Exit::Terminated => "stopped by SIGTERM, resumable",
        }
    }

    /// The number given to the system.
    pub fn number(self) -> u8 {
        match self {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::NotFound => 4,
            Exit::Damaged => 5,
            Exit::Environment => 6,
            Exit::Undecided => 7,
            Exit::Limit => 8,
            Exit::Bug => 70,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// The worse of the two.
    pub fn worst(self, other: Exit) -> Exit {
        self.max(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        assert_eq!(Exit::Yes.worst(Exit::Undecided), Exit::Undecided);
        assert_eq!(Exit::No.worst(Exit::Undecided), Exit::No);
        assert_eq!(Exit::Damaged.worst(Exit::Undecided), Exit::Damaged);
        assert_eq!(Exit::No.worst(Exit::Refused), Exit::Refused);
        assert_eq!(Exit::Bug.worst(Exit::Environment), Exit::Bug);
    }
}
