//! Times and bands from the names of files.

use super::ImportError;
use chunkwise_core::cf::time::{Calendar, CivilTime, parse_partial};
use regex::{Captures, Regex};
use std::cmp::Ordering;
use std::path::Path;

/// Calendar of times in names.
pub(super) const CALENDAR: Calendar = Calendar::ProlepticGregorian;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Finds the time in a name: a pattern of `strptime` (`%Y%m%d`), or a regular expression with one group that holds such a
/// pattern or an ISO 8601 date.
#[derive(Clone, Debug)]
pub struct TimePattern {
    text: String,
    regex: Regex,
    fields: bool,
}

impl TimePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A directive that is not known or stands twice, no directive that says the year, a regular expression that cannot
    /// be read or has not one group.
    pub fn new(text: &str) -> Result<TimePattern, ImportError> {
        let bad = |problem: String| {
            ImportError::asked(
                format!("`--time-from {text}`: {problem}"),
                "write the form of the date in the name as `strptime` does, such as `%Y%m%d`, or a regular expression with \
                 one group, such as `_(\\d{8})_`",
            )
        };
        let is_regex = text.contains('(');
        let mut pattern = String::new();
        let mut fields = String::new();
        let mut rest = text.chars();
        let mut buffer = [0; 4];
        while let Some(c) = rest.next() {
            if c != '%' {
                match is_regex {
                    true => pattern.push(c),
                    false => pattern.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
                }
                continue;
            }
            let directive = rest.next().ok_or_else(|| bad("it ends in `%`".to_owned()))?;
            let digits = match directive {
                '%' => {
                    pattern.push('%');
                    continue;
                }
                'Y' => r"\d{4}",
                'y' | 'm' | 'd' | 'H' | 'M' | 'S' => r"\d{2}",
                'j' => r"\d{3}",
                'f' => r"\d{1,9}",
                'b' => "(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
                other => {
                    let known = "%Y %y %m %b %d %j %H %M %S %f";
                    return Err(bad(format!("`%{other}` is not known; there are {known}")));
                }
            };
            if fields.contains(directive) {
                return Err(bad(format!("`%{directive}` stands twice")));
            }
            fields.push(directive);
            pattern.push_str(&format!("(?P<f_{directive}>{digits})"));
        }
        let regex = Regex::new(&pattern).map_err(|e| bad(e.to_string()))?;
        let groups = regex.captures_len() - 1 - fields.len();
        if fields.is_empty() && groups != 1 {
            return Err(bad(match groups {
                0 => "it has no directive such as `%Y`, and no group".to_owned(),
                n => format!("it has {n} groups, and is to have one"),
            }));
        }
        if !fields.is_empty() && !fields.contains(['Y', 'y']) {
            return Err(bad("it does not say the year (`%Y`)".to_owned()));
        }
        Ok(TimePattern { text: text.to_owned(), regex, fields: !fields.is_empty() })
    }

    /// The time in the name of a file, else in those of its folders, the nearest first; nanoseconds since 1970.
    ///
    /// In one name the first date counts that no digit touches, else the first.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, path: &str) -> Result<i128, ImportError> {
        let parts = path.split('/').rev().filter(|part| !part.is_empty());
        parts.into_iter().find_map(|part| self.in_name(part)).ok_or_else(|| {
            ImportError::asked(
                format!("`{path}` has no date of the form `{}` in its name", self.text),
                "give the form with `--time-from`, such as `%Y%m%d` or `%Y-%m-%dT%H%M%S`",
            )
        })
    }

    fn in_name(&self, name: &str) -> Option<i128> {
        let mut at = 0;
        let mut second = None;
        while let Some(found) = self.regex.captures_at(name, at) {
            let whole = found.get(0)?;
            if let Some(time) = self.time(&found) {
                let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
                let (before, behind) = (&name[..whole.start()], &name[whole.end()..]);
                let touched = |own: Option<char>, other: Option<char>| digit(own) && digit(other);
                let text = whole.as_str();
                if !touched(text.chars().next(), before.chars().last())
                    && !touched(text.chars().last(), behind.chars().next())
                {
                    return Some(time);
                }
                second.get_or_insert(time);
            }
            // Matches may lie across each other.
            at = whole.start() + name[whole.start()..].chars().next().map_or(1, char::len_utf8);
            if at > name.len() {
                break;
            }
        }
        second
    }

    fn time(&self, found: &Captures<'_>) -> Option<i128> {
        if !self.fields {
            return parse_partial(found.get(1)?.as_str(), CALENDAR).ok().map(|t| t.first);
        }
        let number = |field: char| found.name(&format!("f_{field}")).and_then(|m| m.as_str().parse::<i64>().ok());
        let year = number('Y').or_else(|| number('y').map(|y| if y < 69 { 2000 + y } else { 1900 + y }))?;
        let month = match found.name("f_b") {
            Some(name) => MONTHS.iter().position(|m| name.as_str().eq_ignore_ascii_case(m))? as u8 + 1,
            None => number('m').unwrap_or(1) as u8,
        };
        let nanos = match found.name("f_f") {
            Some(digits) => format!("{:0<9}", digits.as_str()).parse().ok()?,
            None => 0,
        };
        let civil = CivilTime {
            year,
            month,
            day: number('d').unwrap_or(1) as u8,
            hour: number('H').unwrap_or(0) as u8,
            minute: number('M').unwrap_or(0) as u8,
            second: number('S').unwrap_or(0) as u8,
            nanos,
        };
        let time = CALENDAR.nanos(&civil).ok()?;
        match number('j') {
            None => Some(time),
            Some(day) if (1..=365 + i64::from(CALENDAR.is_leap_year(year))).contains(&day) => {
                Some(time + i128::from(day - 1) * 86_400_000_000_000)
            }
            Some(_) => None,
        }
    }
}

/// Finds the band in a name: a regular expression with one group, or none (then all that it finds).
#[derive(Clone, Debug)]
pub struct BandPattern {
    text: String,
    regex: Regex,
}

impl BandPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A regular expression that cannot be read, or with several groups.
    pub fn new(text: &str) -> Result<BandPattern, ImportError> {
        let bad = |problem: String| {
            let hint = "write a regular expression whose one group is the band, such as `_(B\\d+|BQA)\\.TIF$`";
            ImportError::asked(format!("`--band-from {text}`: {problem}"), hint)
        };
        let regex = Regex::new(text).map_err(|e| bad(e.to_string()))?;
        match regex.captures_len() {
            1 | 2 => Ok(BandPattern { text: text.to_owned(), regex }),
            n => Err(bad(format!("it has {} groups, and is to have one", n - 1))),
        }
    }

    /// The band of a file, and what its name is without it: the same for all files of a scene.
    ///
    /// # Errors
    /// There is none in its name.
    pub fn find(&self, path: &str) -> Result<(String, String), ImportError> {
        let name = Path::new(path).file_name().and_then(|n| n.to_str()).unwrap_or(path);
        let folder = path.strip_suffix(name).unwrap_or("");
        let found = self.regex.captures(name).and_then(|c| c.get(1).or(c.get(0)));
        let found = found.filter(|m| !m.as_str().is_empty()).ok_or_else(|| {
            ImportError::asked(
                format!("`{path}` has no band as `--band-from {}` finds it in its name", self.text),
                "leave the file out, or change the pattern",
            )
        })?;
        let scene = format!("{folder}{}*{}", &name[..found.start()], &name[found.end()..]);
        Ok((found.as_str().to_owned(), scene))
    }
}

/// Compares names as people sort them: `B2` before `B10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match (digits(a), digits(b)) {
            (0, _) | (_, 0) => {}
            (n, m) => {
                let (x, y) = (a[..n].trim_start_matches('0'), b[..m].trim_start_matches('0'));
                let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (&a[n..], &b[m..]);
                continue;
            }
        }
        match (a.chars().next(), b.chars().next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            (Some(x), Some(y)) => return x.cmp(&y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkwise_core::cf::time::format_time;

    fn found(pattern: &str, path: &str) -> String {
        let time = TimePattern::new(pattern).unwrap().find(path);
        time.map_or_else(|e| e.to_string(), |t| format_time(t, CALENDAR, true))
    }

    #[test]
    fn the_first_date_that_no_digit_touches_is_the_time() {
        for (pattern, path, time) in [
            ("%Y%m%d", "LC08_L1TP_013032_20180131_20180207_01_T1_B4.TIF", "2018-01-31"),
            ("%Y%m%dT%H%M%S", "S2_L1C_20150711T100008.tif", "2015-07-11T10:00:08"),
            ("%Y%m%d", "a/20200229/B4.tif", "2020-02-29"),
            ("%Y%m%d", "x20209999_12020010100.tif", "2020-01-01"),
            ("%Y%j", "MOD13Q1.A2020060.h18v04.tif", "2020-02-29"),
            ("%d-%b-%Y", "rain-03-Mar-1999.tif", "1999-03-03"),
            ("_(\\d{8})_01", "LC08_20180131_20180207_01.tif", "2018-02-07"),
            ("_(%Y%m%d)_01", "LC08_20180131_20180207_01.tif", "2018-02-07"),
            ("y(\\d{4})", "y1987.tif", "1987-01-01"),
        ] {
            assert_eq!(found(pattern, path), time, "{pattern} in {path}");
        }
        assert!(found("%Y%m%d", "red.tif").contains("has no date"));
    }

    #[test]
    fn patterns_that_say_no_date_are_refused() {
        for pattern in ["%Q", "%Y%Y", "%m%d", "date", "(a)(b)", "(%Y", "%"] {
            assert!(TimePattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_band_is_cut_out_of_the_name_of_its_scene() {
        let pattern = BandPattern::new(r"_(B\d+|BQA)\.TIF$").unwrap();
        let found = pattern.find("scenes/a/LC08_2018_B10.TIF").unwrap();
        assert_eq!(found, ("B10".to_owned(), "scenes/a/LC08_2018_*.TIF".to_owned()));
        assert!(pattern.find("scenes/a_B1.TIF/readme").is_err());
    }

    #[test]
    fn names_sort_by_their_numbers() {
        let mut names = ["B10", "B2", "BQA", "B8A", "B1", "B8", "B09"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["B1", "B2", "B8", "B8A", "B09", "B10", "BQA"]);
    }
}
