//! When a failed request is sent again, and for how long.
//!
//! `object_store` repeats a request until its headers have come; what fails behind them (a body that stalls, ends early
//! or is not the range asked for) it repeats in part or not at all. So its own repeats are off, and a whole get is
//! repeated here.

use super::wire::Seen;
use object_store::client::HttpErrorKind;
use std::time::{Duration, Instant};

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A server that has not answered once is given so long, unless the user says how long: most often its name or port is
/// wrong.
pub(super) const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// Answers of the wrong form (no range where one was asked for) are asked for again so often.
const WRONG: u32 = 3;

/// Why an attempt gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request failed; what is behind it was seen on the wire.
    Request(object_store::Error),
    /// A body shorter than what was asked for, or than it says.
    Truncated {
        /// Bytes that came.
        came: u64,
        /// Bytes that were to come.
        expected: u64,
    },
    /// A part of the object, where all of it was asked for.
    Part,
    /// The object is shorter than the range: no fault of the wire.
    Short {
        /// Its size.
        size: u64,
    },
    /// The object is larger than it can be: no fault of the wire.
    Large {
        /// Its size.
        size: u64,
    },
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It will fail again.
    Final,
    /// It may work later.
    Again,
    /// The server answers something else than asked: a few more times.
    Wrong,
}

/// Judges a failure by what was seen on the wire.
pub(super) fn judge(failure: &Failure, seen: &Seen) -> Verdict {
    match (failure, seen.status, seen.transport) {
        (Failure::Short { .. } | Failure::Large { .. }, ..) => Verdict::Final,
        (Failure::Truncated { .. } | Failure::Part, ..) => Verdict::Again,
        (Failure::Request(error), None, Some(kind)) => {
            let words = chain(error).to_ascii_lowercase();
            let hopeless = ["certificate", "not allowed", "builder error", "relative url"];
            // A URL or header that cannot be sent; an answer that is no HTTP is "invalid … parsed".
            let unsent = kind == HttpErrorKind::Unknown && words.contains("invalid") && !words.contains("parsed");
            if unsent || hopeless.iter().any(|word| words.contains(word)) { Verdict::Final } else { Verdict::Again }
        }
        (Failure::Request(_), Some(status), _) => match status.as_u16() {
            // The answer was good, and its body or its form was not.
            206 => Verdict::Again,
            200..=299 if is_not_partial(failure) => Verdict::Wrong,
            200..=299 | 408 | 425 | 429 | 500 | 502..=599 => Verdict::Again,
            _ if seen.code.as_deref() == Some("RequestTimeout") => Verdict::Again,
            _ => Verdict::Final,
        },
        // Nothing was sent: bad credentials, a key that is none.
        (Failure::Request(_), None, None) => Verdict::Final,
    }
}

/// Whether the answer to a range was all of the object.
pub(super) fn is_not_partial(failure: &Failure) -> bool {
    match failure {
        // Web servers.
        Failure::Request(object_store::Error::NotSupported { .. }) => true,
        Failure::Request(error) => chain(error).contains("non-partial"),
        _ => false,
    }
}

/// An error and its causes, as one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let text = cause.to_string();
        // Wrappers repeat their cause.
        match told.last_mut() {
            Some(last) if last.ends_with(&text) => {
                let kept = last.len() - text.len();
                last.truncate(kept);
                *last = last.trim_end_matches([':', ' ', '-']).to_owned();
                if last.is_empty() {
                    told.pop();
                }
            }
            _ => {}
        }
        told.push(text);
    }
    told.join(": ")
}

/// The innermost cause: what the system said.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    last.map(ToString::to_string).unwrap_or_default()
}

/// The times of one request.
#[derive(Debug)]
pub(super) struct Tries {
    began: Instant,
    within: Duration,
    /// So long where the server has never answered.
    first: Duration,
    pause: Duration,
    count: u32,
    wrong: u32,
}

impl Tries {
    /// For a request that may be repeated for `within`; for `first` where the server has never answered.
    pub(super) fn new(within: Duration, first: Duration) -> Tries {
        Tries { began: Instant::now(), within, first, pause: FIRST, count: 1, wrong: 0 }
    }

    /// Attempts so far.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Since the first attempt.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long to wait before the next attempt; `None`: there is none.
    ///
    /// Pauses double, and are drawn from the upper half of that, so that many requests do not come back at once.
    pub(super) fn again(&mut self, verdict: Verdict, asked: Option<Duration>, contact: bool) -> Option<Duration> {
        let within = if contact { self.within } else { self.within.min(self.first) };
        match verdict {
            Verdict::Final => return None,
            Verdict::Wrong if self.wrong == WRONG => return None,
            Verdict::Wrong => self.wrong += 1,
            Verdict::Again => {}
        }
        let drawn = self.pause.mul_f64(0.5 + 0.5 * fastrand::f64());
        let wait = drawn.max(asked.unwrap_or_default());
        if self.began.elapsed() + wait > within {
            return None;
        }
        self.pause = (self.pause * 2).min(LONGEST);
        self.count += 1;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn failed() -> Failure {
        Failure::Request(object_store::Error::NotImplemented { operation: "x".into(), implementer: "y".into() })
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        for (status, verdict) in [
            (400, Verdict::Final),
            (401, Verdict::Final),
            (403, Verdict::Final),
            (404, Verdict::Final),
            (408, Verdict::Again),
            (429, Verdict::Again),
            (500, Verdict::Again),
            (501, Verdict::Final),
            (503, Verdict::Again),
            (206, Verdict::Again),
        ] {
            let seen = Seen { status: StatusCode::from_u16(status).ok(), ..Seen::default() };
            assert_eq!(judge(&failed(), &seen), verdict, "{status}");
        }
        let reset = Seen { transport: Some(HttpErrorKind::Interrupted), ..Seen::default() };
        assert_eq!(judge(&failed(), &reset), Verdict::Again);
        assert_eq!(judge(&Failure::Truncated { came: 1, expected: 2 }, &Seen::default()), Verdict::Again);
        assert_eq!(judge(&Failure::Short { size: 1 }, &Seen::default()), Verdict::Final);
    }

    #[test]
    fn pauses_grow_honour_the_server_and_end_with_the_retry_time() {
        let mut tries = Tries::new(Duration::from_secs(60), FIRST_CONTACT);
        let pauses: Vec<Duration> = (0..6).map_while(|_| tries.again(Verdict::Again, None, true)).collect();
        for (i, pause) in pauses.iter().enumerate() {
            let full = FIRST * (1 << i);
            assert!(*pause >= full / 2 && *pause <= full, "{i}: {pause:?}");
        }
        let asked = Duration::from_secs(20);
        assert_eq!(tries.again(Verdict::Again, Some(asked), true), Some(asked));
        assert_eq!(tries.again(Verdict::Again, Some(Duration::from_secs(61)), true), None);
        assert_eq!(tries.again(Verdict::Final, None, true), None);
        assert_eq!(tries.count(), 8);
    }

    #[test]
    fn a_server_that_never_answered_is_not_waited_for_all_the_retry_time() {
        let mut tries = Tries::new(Duration::from_secs(60), FIRST_CONTACT);
        assert_eq!(tries.again(Verdict::Again, Some(Duration::from_secs(6)), false), None);
        assert!(tries.again(Verdict::Again, Some(Duration::from_secs(6)), true).is_some());
    }
}
