//! What a store is opened with: credentials, endpoints, times.

use super::StoreError;
use super::secret;
use indexmap::IndexMap;
use std::fmt;
use std::time::Duration;

/// Options of stores as `KEY=VALUE`, and what answers mean that an object is absent.
///
/// Keys are those of chunkwise (below) and of [`object_store`](https://docs.rs/object_store), with or without their
/// prefix: `region` or `aws_region`. What one kind of store does not know is left to the others.
///
/// | key | what | default |
/// |---|---|---|
/// | `anonymous` | do not sign requests | where no credentials are found |
/// | `profile` | a profile of `~/.aws` | `AWS_PROFILE`, `default` |
/// | `instance_metadata` | ask the machine's metadata service for credentials | `false` |
/// | `retry_timeout` | how long a failing request is repeated | `60s` |
/// | `stall_timeout` | how long an answer may send nothing | `15s` |
/// | `connect_timeout` | how long a connection may take | `5s` |
/// | `concurrency` | requests at once | `64` |
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageOptions {
    /// Keys in lower case, and their values.
    pub values: IndexMap<String, String>,
    /// Status codes that count as an absent object, beside 404.
    pub absent_on: Vec<u16>,
}

/// Keys of chunkwise's own.
pub(crate) const OWN: [&str; 7] =
    ["anonymous", "profile", "instance_metadata", "retry_timeout", "stall_timeout", "connect_timeout", "concurrency"];

/// Values are not told: one of them may be a secret.
impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.values.iter().map(|(k, v)| secret::mask_option(&format!("{k}={v}")));
        f.debug_struct("StorageOptions")
            .field("values", &shown.collect::<Vec<_>>())
            .field("absent_on", &self.absent_on)
            .finish()
    }
}

impl StorageOptions {
    /// Options from words like `region=eu-central-1`.
    ///
    /// # Errors
    /// A word without `=`, or a key that no store knows.
    pub fn parse<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Result<StorageOptions, StoreError> {
        let mut options = StorageOptions::default();
        for word in words {
            let Some((key, value)) = word.as_ref().split_once('=') else {
                let reason = "it is not `KEY=VALUE`".to_owned();
                // What has no key may be a secret.
                return Err(StoreError::BadOption { key: secret::MASK.to_owned(), reason });
            };
            let key = key.trim().to_ascii_lowercase();
            if secret::is_secret(&key) {
                secret::remember(value);
            }
            secret::remember_url(value);
            if !OWN.contains(&key.as_str()) && !super::knows_option(&key) {
                let reason = format!("no store knows it; there are `{}`, `region`, `endpoint` …", OWN.join("`, `"));
                return Err(StoreError::BadOption { key, reason });
            }
            options.values.insert(key, value.to_owned());
        }
        Ok(options)
    }

    /// A value by key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A truth value: `true` or `false`.
    ///
    /// # Errors
    /// Anything else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, StoreError> {
        self.get(key).map(|text| text.parse().map_err(|_| bad(key, text, "`true` or `false`"))).transpose()
    }

    /// A duration: `60s`, `500ms`, `2m`, or seconds.
    ///
    /// # Errors
    /// Anything else.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.get(key).map(|text| parse_duration(text).ok_or_else(|| bad(key, text, "a time such as `60s`"))).transpose()
    }

    /// A number that is at least 1.
    ///
    /// # Errors
    /// Anything else.
    pub fn count(&self, key: &str) -> Result<Option<usize>, StoreError> {
        let parse = |text: &str| text.parse().ok().filter(|n| (1..=4096).contains(n));
        self.get(key).map(|text| parse(text).ok_or_else(|| bad(key, text, "a number from 1 to 4096"))).transpose()
    }
}

fn bad(key: &str, text: &str, expected: &str) -> StoreError {
    StoreError::BadOption { key: key.to_owned(), reason: format!("`{text}` is not {expected}") }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok().filter(|d| *d <= Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_keys_and_values_that_some_store_knows() {
        let options = StorageOptions::parse(["retry_timeout=1.5s", "Anonymous=true", "concurrency=8"]).unwrap();
        assert_eq!(options.duration("retry_timeout").unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(options.flag("anonymous").unwrap(), Some(true));
        assert_eq!(options.count("concurrency").unwrap(), Some(8));
        assert_eq!(options.duration("stall_timeout").unwrap(), None);
    }

    #[test]
    fn what_is_no_option_is_refused_by_its_name_alone() {
        for (word, said) in [("regoin=x", "regoin"), ("hunter2hunter2", "KEY=VALUE")] {
            let error = StorageOptions::parse([word]).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
        for word in ["retry_timeout=soon", "anonymous=perhaps", "concurrency=0"] {
            let options = StorageOptions::parse([word]).unwrap();
            let found = [
                options.duration("retry_timeout").err(),
                options.flag("anonymous").err(),
                options.count("concurrency").err(),
            ];
            assert_eq!(found.iter().flatten().count(), 1, "{word}");
        }
    }

    #[test]
    fn secrets_of_options_are_not_printed() {
        let options = StorageOptions::parse(["profile=p", "anonymous=true"]).unwrap();
        assert!(format!("{options:?}").contains("profile=p"));
    }
}
