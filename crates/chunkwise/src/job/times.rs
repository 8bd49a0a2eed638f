//! Values of variables that hold times, for tables: ISO 8601.

use super::json_value;
use chunkwise_core::cf::time::{Calendar, NOT_A_TIME, TimeAxis, TimeUnits, format_time, is_time_units};
use chunkwise_core::cube::{DataType, Packing, TimeUnit, Variable};
use chunkwise_core::plan::{Folded, From, Stage};
use chunkwise_core::values::Column;
use serde_json::Value;

/// How the counts of a variable are read as times.
#[derive(Clone, Debug)]
pub(super) enum Times {
    /// CF: `days since 2000-01-01`.
    Cf(TimeUnits),
    /// numpy's `datetime64`.
    Numpy(TimeUnit),
}

impl Times {
    /// How what is folded is read as times; `None` where it is none, or a formula.
    pub(super) fn of(stage: &Stage, folded: &Folded) -> Option<Times> {
        match folded.from {
            From::Input(i) => Times::of_variable(&stage.arrays[stage.inputs[i].array]),
            From::Formula(_) => None,
        }
    }

    fn of_variable(variable: &Variable) -> Option<Times> {
        if let DataType::DateTime(unit) = &variable.dtype {
            return Some(Times::Numpy(unit.clone()));
        }
        let units = variable.units().filter(|u| is_time_units(u))?;
        let calendar = variable.attrs.get("calendar").and_then(Value::as_str);
        TimeUnits::parse(units, calendar).ok().map(Times::Cf)
    }

    /// One cell in ISO 8601, `null` where it is missing; the count itself where it is no time.
    pub(super) fn value(&self, column: &Column, i: usize, packing: Packing) -> Value {
        if !column.is_valid(i) {
            return Value::Null;
        }
        let time = match packing.is_none() && !column.values.dtype().is_float() {
            true => i64::try_from(column.values.i128_at(i)).ok().and_then(|count| self.whole(count)),
            false => {
                let v = column.values.f64_at(i);
                self.fraction(if packing.is_none() { v } else { v * packing.scale + packing.offset })
            }
        };
        match time {
            Some((NOT_A_TIME, _)) => Value::Null,
            Some((nanos, calendar)) => format_time(nanos, calendar, true).into(),
            None => json_value(column, i, packing),
        }
    }

    fn whole(&self, count: i64) -> Option<(i128, Calendar)> {
        match self {
            Times::Cf(units) => Some((units.decode_integer(count).ok()?, units.calendar)),
            Times::Numpy(TimeUnit { unit, step }) => {
                let axis = TimeAxis::from_datetime64(unit, *step, &[count]).ok()?;
                Some((axis.nanos[0], axis.calendar))
            }
        }
    }

    fn fraction(&self, count: f64) -> Option<(i128, Calendar)> {
        match self {
            Times::Cf(units) => Some((units.decode_float(count).ok()?, units.calendar)),
            Times::Numpy(unit) => {
                // Months and years have no fraction.
                let word = unit.word()?;
                let units = TimeUnits::parse(&format!("{word} since 1970-01-01"), Some("proleptic_gregorian")).ok()?;
                Some((units.decode_float(count * f64::from(unit.step)).ok()?, units.calendar))
            }
        }
    }
}
