//! CF conventions: time and calendars, packing and missing values, attributes of results.

pub mod decode;
pub mod encode;
pub mod time;
