//! What a location of a remote store names.

use crate::store::StoreError;

/// The schemes, and what they stand for.
const SCHEMES: [&str; 10] = ["s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "http", "https"];

/// Whether a location is one of an object store or web server.
pub(crate) fn is_remote(location: &str) -> bool {
    location.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()))
}

/// The ways to read `LOCATION[:GROUP]`, the likeliest first: root and group.
///
/// A look costs a request, so that the name decides where it can: what follows `.zarr:` is a group. `%3A` stands for a
/// colon of a name.
pub(crate) fn split(location: &str) -> Vec<(String, String)> {
    let whole = (location.replace("%3A", ":").replace("%3a", ":"), String::new());
    let Some(begin) = location.find("://").map(|at| at + 3) else { return vec![whole] };
    // Colons of the host are ports, those of a query belong to it.
    let Some(path) = location[begin..].find('/').map(|at| begin + at) else { return vec![whole] };
    let end = location[path..].find('?').map_or(location.len(), |at| path + at);
    let at = |colon: usize| {
        let root = format!("{}{}", &location[..colon], &location[end..]);
        let group = location[colon + 1..end].trim_matches('/').to_owned();
        (root.replace("%3A", ":").replace("%3a", ":"), group)
    };
    let colons: Vec<usize> = location[path..end].match_indices(':').map(|(i, _)| path + i).collect();
    if let Some(&colon) = colons.iter().rev().find(|&&colon| location[..colon].ends_with(".zarr")) {
        return vec![at(colon)];
    }
    std::iter::once(whole).chain(colons.into_iter().rev().map(at)).filter(|(root, _)| !root.ends_with('/')).collect()
}

/// A location in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) scheme: String,
    /// Bucket or container; of a web server, nothing.
    pub(super) bucket: String,
    /// The account of `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/`.
    pub(super) account: Option<String>,
    /// The key of the root, without slashes at its ends.
    pub(super) prefix: String,
}

/// Takes `scheme://bucket/prefix` apart.
pub(super) fn parts(location: &str) -> Result<Parts, StoreError> {
    let bad = |reason: &str| StoreError::BadLocation { location: location.to_owned(), reason: reason.to_owned() };
    let (scheme, rest) = location.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return Err(bad("it names no bucket, as in `s3://BUCKET/KEY`"));
    }
    let (bucket, account) = match host.split_once('@') {
        Some((container, host)) if scheme.starts_with("ab") => {
            (container, Some(host.split('.').next().unwrap_or(host).to_owned()))
        }
        _ => (host, None),
    };
    let prefix = prefix.trim_matches('/').to_owned();
    if prefix.split('/').any(|s| s == "." || s == "..") || (prefix.contains("//")) {
        return Err(bad("a segment of its path is empty, `.` or `..`"));
    }
    Ok(Parts { scheme, bucket: bucket.to_owned(), account, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(location: &str) -> Vec<(String, String)> {
        split(location)
    }

    fn pair(root: &str, group: &str) -> (String, String) {
        (root.to_owned(), group.to_owned())
    }

    #[test]
    fn a_group_follows_the_name_of_the_cube() {
        assert_eq!(ways("s3://b/a.zarr"), [pair("s3://b/a.zarr", "")]);
        assert_eq!(ways("s3://b/a.zarr:x/y"), [pair("s3://b/a.zarr", "x/y")]);
        assert_eq!(ways("http://h:80/a.zarr:t"), [pair("http://h:80/a.zarr", "t")]);
        assert_eq!(ways("http://h:80/a.zarr:t?sig=a:b"), [pair("http://h:80/a.zarr?sig=a:b", "t")]);
        assert_eq!(ways("http://h:80"), [pair("http://h:80", "")]);
    }

    #[test]
    fn where_the_name_does_not_tell_the_whole_comes_first() {
        let found = ways("s3://b/run_T00:00/cube:t");
        let all = [
            pair("s3://b/run_T00:00/cube:t", ""),
            pair("s3://b/run_T00:00/cube", "t"),
            pair("s3://b/run_T00", "00/cube:t"),
        ];
        assert_eq!(found, all);
        assert_eq!(ways("s3://b/run_T00%3A00/c.zarr"), [pair("s3://b/run_T00:00/c.zarr", "")]);
    }

    #[test]
    fn locations_are_taken_apart() {
        let found = parts("abfss://box@acct.dfs.core.windows.net/a/b.zarr/").unwrap();
        assert_eq!(
            (found.bucket.as_str(), found.account.as_deref(), found.prefix.as_str()),
            ("box", Some("acct"), "a/b.zarr")
        );
        let found = parts("s3://bucket").unwrap();
        assert_eq!((found.bucket.as_str(), found.prefix.as_str()), ("bucket", ""));
        for bad in ["s3:///a", "s3://b/a/../c", "s3://b/a//c"] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }
}
