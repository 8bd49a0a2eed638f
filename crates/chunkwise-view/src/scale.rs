//! From values to pixels.

/// A straight line through two points: values to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    /// The first value goes to the first pixel, the second to the second.
    pub(crate) fn new(from: (f64, f64), to: (f64, f64)) -> Scale {
        Scale { from, to }
    }

    /// Where a value lies; the middle where the two values are one.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let t = if span == 0.0 { 0.5 } else { (value - self.from.0) / span };
        self.to.0 + t * (self.to.1 - self.to.0)
    }

    /// Pixels of a span of values.
    pub(crate) fn length(&self, span: f64) -> f64 {
        (self.at(self.from.0 + span) - self.at(self.from.0)).abs()
    }
}
