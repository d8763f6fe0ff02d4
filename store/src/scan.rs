//! Going through a log in order, beside a writer or not.

use crate::buffer::Aligned;
use crate::error::{Error, Finding};
use crate::group::{Group, Position, Step};
use crate::place::Bytes;
use crate::reader::LogReader;
use crate::stored::{ReadFrom, StoredRecord};
use crate::walk::Walker;
use aos_format::controls::{self, Control};
use aos_format::offset::Offset;
use std::collections::VecDeque;

pub(crate) enum Resolved {
    Group(Group),
    End(Option<Finding>),
}

/// The next group of a log, or its end.
pub(crate) enum Next {
    Group(Group),
    End(Option<Finding>),
}

/// Groups of a log in order, with a racing writer allowed for.
pub(crate) struct Groups<'a> {
    reader: &'a LogReader,
    pub(crate) walker: Walker,
    pub(crate) position: Position,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(reader: &'a LogReader, position: Position) -> Groups<'a> {
        Groups {
            reader,
            walker: reader.walker(),
            position,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Next, Error> {
        let group = match self.walker.next_group(&self.position)? {
            Step::Group(group) => group,
            Step::Stop(_) => match self.reader.resolve(&mut self.walker, &self.position)? {
                Resolved::Group(group) => group,
                Resolved::End(finding) => return Ok(Next::End(finding)),
            },
        };
        self.position = group.position();
        Ok(Next::Group(group))
    }
}

/// Records of a log in order of offset. See [`LogReader::scan`].
pub struct Scan<'a> {
    reader: &'a LogReader,
    groups: Groups<'a>,
    from: Offset,
    /// Records of the newest group, until it is known whether another follows.
    held: Option<Vec<StoredRecord>>,
    ready: VecDeque<StoredRecord>,
    finding: Option<Finding>,
    done: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(reader: &'a LogReader, from: Offset, done: bool) -> Scan<'a> {
        let start = reader.identity().stride.segment_start(from);
        let kept = reader.pruned().filter(|base| from < base.end());
        Scan {
            reader,
            groups: Groups::new(reader, reader.files().position(start)),
            from,
            held: None,
            ready: kept
                .map(|base| base.records(from).collect())
                .unwrap_or_default(),
            finding: None,
            done,
        }
    }

    fn advance(&mut self) -> Result<(), Error> {
        match self.groups.next()? {
            Next::Group(group) => {
                self.ready.extend(self.held.take().into_iter().flatten());
                let mut records = Vec::new();
                for frame in group.records().filter(|frame| frame.offset >= self.from) {
                    let body = Aligned::copy_of(self.groups.walker.body(frame)?);
                    let start = self.reader.identity().stride.segment_start(frame.offset);
                    let file = ReadFrom::Segment(start);
                    records.push(StoredRecord::new(*frame, Bytes::Owned(body), file, false));
                }
                self.held = Some(records);
            }
            Next::End(finding) => {
                let word = self.reader.durable_word()?;
                let durable = word.is_some_and(|word| word.durable >= self.groups.position.end)
                    || controls::on(Control::TrustLastGroup);
                let last = self.held.take().into_iter().flatten();
                self.ready.extend(last.map(|record| {
                    if durable {
                        record
                    } else {
                        record.into_pending()
                    }
                }));
                self.finding = finding;
                self.done = true;
            }
        }
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<StoredRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Ok(record));
            }
            if self.done {
                return self.finding.take().map(|finding| Err(finding.into()));
            }
            if let Err(error) = self.advance() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
