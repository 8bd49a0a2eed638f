//! Secrets, and how text is told without them.
//!
//! What a store is opened with is known here by value: credentials, signatures, passwords. All that chunkwise says of
//! a store goes through [`mask`].

use std::sync::{PoisonError, RwLock};

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Shorter values would be found in too many words.
const SHORTEST: usize = 4;

static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Remembers a value that must not be told, as it is and as URLs write it.
pub(crate) fn remember(secret: &str) {
    if secret.len() < SHORTEST {
        return;
    }
    let encoded: String = secret
        .bytes()
        .map(|b| match b {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect();
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for form in [secret.to_owned(), encoded] {
        if !known.contains(&form) {
            known.push(form);
        }
    }
    // The longest first: a secret may hold another.
    known.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// The text with `***` for each secret that the process was given, for passwords and for signatures in URLs.
pub fn mask(text: &str) -> String {
    let mut masked = urls_without_secrets(text);
    for secret in KNOWN.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if masked.contains(secret.as_str()) {
            masked = masked.replace(secret.as_str(), MASK);
        }
    }
    masked
}

/// `KEY=VALUE` of `--storage`, without the value where that is a secret.
pub fn mask_option(text: &str) -> String {
    match text.split_once('=') {
        Some((key, _)) if is_secret(key) => format!("{key}={MASK}"),
        _ => mask(text),
    }
}

/// Whether the value of an option or query parameter of this name is one to keep.
///
/// What is not known to be harmless is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "secret",
        "password",
        "token",
        "credential",
        "sas",
        "sig",
        "signature",
        "service_account",
        "access_key",
        "account_key",
        "encryption_key",
        "customer_key",
    ];
    let name = name.to_ascii_lowercase().replace('-', "_");
    let harmless =
        ["token_file", "application_credentials", "credential_type", "service_account_path", "disable_tagging"];
    !harmless.iter().any(|word| name.contains(word)) && (name == "key" || WORDS.iter().any(|word| name.contains(word)))
}

/// Remembers the password and the query values of a URL.
pub(crate) fn remember_url(url: &str) {
    let Some((_, rest)) = url.split_once("://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((_, password)) = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
        remember(password);
    }
    if let Some((_, query)) = rest.split_once('?') {
        for pair in query.split(['&', '#']) {
            if let Some((name, value)) = pair.split_once('=')
                && is_secret(name)
            {
                remember(value);
            }
        }
    }
}

/// Each URL of a text with `***` in the place of a password, and of the query, which may be a signature.
fn urls_without_secrets(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from) = rest.split_at(at + 3);
        told.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '`' | '"' | '\'' | '<' | '>' | ')' | '(' | ',');
        let (url, after) = from.split_at(from.find(ends).unwrap_or(from.len()));
        let end = url.find(['/', '?', '#']).unwrap_or(url.len());
        let (authority, path) = url.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                let name = user.split(':').next().unwrap_or_default();
                told.push_str(&format!("{name}:{MASK}@{host}"));
            }
            _ => told.push_str(authority),
        }
        match path.split_once('?') {
            Some((path, query)) => {
                told.push_str(path);
                told.push('?');
                let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                    Some((name, _)) => format!("{name}={MASK}"),
                    None => MASK.to_owned(),
                });
                told.push_str(&pairs.collect::<Vec<_>>().join("&"));
            }
            None => told.push_str(path),
        }
        rest = after;
    }
    told.push_str(rest);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_of_urls_are_not_told() {
        let told = mask("no answer from `https://me:pa55@host:8080/a b` and s3://bucket/key");
        assert_eq!(told, "no answer from `https://me:***@host:8080/a b` and s3://bucket/key");
        let told = mask("https://acct.blob.core.windows.net/c/cube.zarr?sv=2024&sig=AbC%2F9 failed");
        assert_eq!(told, "https://acct.blob.core.windows.net/c/cube.zarr?sv=***&sig=*** failed");
        assert_eq!(mask("abfss://box@account.dfs.core.windows.net/a"), "abfss://box@account.dfs.core.windows.net/a");
    }

    #[test]
    fn a_remembered_value_is_masked_as_it_is_and_as_urls_write_it() {
        remember("s3cr3t/with+signs");
        assert_eq!(mask("a s3cr3t/with+signs b"), "a *** b");
        assert_eq!(mask("a=s3cr3t%2Fwith%2Bsigns"), "a=***");
        remember("no");
        assert_eq!(mask("no, north"), "no, north");
    }

    #[test]
    fn options_are_told_but_for_secret_ones() {
        for (given, told) in [
            ("secret_access_key=x", "secret_access_key=***"),
            ("AWS_SESSION_TOKEN=x", "AWS_SESSION_TOKEN=***"),
            ("azure_storage_sas_key=x", "azure_storage_sas_key=***"),
            ("google_service_account_key=x", "google_service_account_key=***"),
            ("region=eu-central-1", "region=eu-central-1"),
            ("anonymous=true", "anonymous=true"),
            ("endpoint=http://a:bcd@h", "endpoint=http://a:***@h"),
        ] {
            assert_eq!(mask_option(given), told);
        }
    }
}
