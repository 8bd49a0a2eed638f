//! Groups that recur: all Januaries, all Mondays, all noons.

use super::{GroupError, Grouping, NO_GROUP};
use crate::cf::time::TimeAxis;
use crate::cube::Labels;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A cycle of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cycle {
    /// January = 1 … December = 12.
    Month,
    /// `DJF`, `MAM`, `JJA`, `SON`.
    Season,
    /// 1 to 366; after February, a date of a leap year is one more than in other years, as in xarray.
    DayOfYear,
    /// 1 to 31.
    MonthDay,
    /// Monday = 0 … Sunday = 6.
    Weekday,
    /// 0 to 23.
    Hour,
}

const SEASONS: [&str; 4] = ["DJF", "MAM", "JJA", "SON"];

impl Cycle {
    /// All cycles, in the order of the enum.
    pub const ALL: [Cycle; 6] =
        [Cycle::Month, Cycle::Season, Cycle::DayOfYear, Cycle::MonthDay, Cycle::Weekday, Cycle::Hour];

    /// The cycle of this name, in any case.
    ///
    /// # Errors
    /// Any other name.
    pub fn parse(name: &str) -> Result<Cycle, GroupError> {
        let asked = name.trim();
        let found = Cycle::ALL.into_iter().find(|cycle| cycle.name().eq_ignore_ascii_case(asked));
        found.ok_or_else(|| GroupError::UnknownCycle { asked: asked.to_owned() })
    }

    /// The name, which is that of the new dimension: `month`, `season`, `dayofyear`, `monthday`, `weekday`, `hour`.
    pub fn name(self) -> &'static str {
        match self {
            Cycle::Month => "month",
            Cycle::Season => "season",
            Cycle::DayOfYear => "dayofyear",
            Cycle::MonthDay => "monthday",
            Cycle::Weekday => "weekday",
            Cycle::Hour => "hour",
        }
    }

    /// More than any part of the cycle.
    fn size(self) -> usize {
        match self {
            Cycle::DayOfYear => 367,
            _ => 32,
        }
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Groups times by their part of a cycle, as xarray's `groupby("time.month")`.
///
/// Only parts that occur become groups, in their natural order (seasons from DJF). Labels are integers, of seasons text.
/// What is not a time is in no group.
pub fn cycle_groups(cycle: Cycle, axis: &TimeAxis) -> Grouping {
    let calendar = axis.calendar;
    let part = |&time: &i128| -> Option<usize> {
        if cycle == Cycle::DayOfYear {
            return calendar.day_of_year(time).map(usize::from);
        }
        if cycle == Cycle::Weekday {
            return calendar.weekday(time).map(usize::from);
        }
        let civil = calendar.civil(time)?;
        Some(usize::from(match cycle {
            Cycle::Season => civil.month % 12 / 3,
            Cycle::MonthDay => civil.day,
            Cycle::Hour => civil.hour,
            _ => civil.month,
        }))
    };
    let parts: Vec<Option<usize>> = axis.nanos.iter().map(part).collect();
    let mut group_of = vec![NO_GROUP; cycle.size()];
    for &part in parts.iter().flatten() {
        group_of[part] = 0;
    }
    let mut present = Vec::new();
    for (part, group) in group_of.iter_mut().enumerate().filter(|(_, group)| **group == 0) {
        *group = present.len() as u32;
        present.push(part);
    }
    let labels = match cycle {
        Cycle::Season => Labels::Text(present.iter().map(|&part| SEASONS[part].to_owned()).collect()),
        _ => Labels::Integer(present.iter().map(|&part| part as i64).collect()),
    };
    Grouping {
        index: parts.iter().map(|part| part.map_or(NO_GROUP, |part| group_of[part])).collect(),
        count: present.len() as u32,
        labels,
        bounds: None,
        sorted_starts: None,
    }
}
