//! Profiles of `~/.aws/config` and `~/.aws/credentials`.

use crate::store::StoreError;
use ini::{Ini, Properties};
use std::path::PathBuf;

/// What a profile says.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    /// Key, secret and, where there is one, session token.
    pub(super) credentials: Option<(String, String, Option<String>)>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    /// A way to credentials that is not gone: `sso_session`.
    pub(super) elsewhere: Option<String>,
}

/// The profile of this name, or of `AWS_PROFILE`, or `default`.
///
/// # Errors
/// A file that cannot be read, or a profile that is asked for by name and is not there.
pub(super) fn profile(name: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<Profile, StoreError> {
    let asked = name.map(str::to_owned).or_else(|| env("AWS_PROFILE")).filter(|name| !name.is_empty());
    let wanted = asked.clone().unwrap_or_else(|| "default".to_owned());
    let home = env("HOME").or_else(|| env("USERPROFILE")).map(PathBuf::from).unwrap_or_default();
    let file = |var: &str, own: &str| env(var).map_or_else(|| home.join(".aws").join(own), PathBuf::from);
    let credentials = read(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
    let config = read(&file("AWS_CONFIG_FILE", "config"))?;
    // Sections of the configuration are `[profile NAME]`, but for `[default]`.
    let sections = [
        credentials.as_ref().and_then(|ini| ini.section(Some(wanted.as_str()))),
        config.as_ref().and_then(|ini| ini.section(Some(format!("profile {wanted}")))),
        config.as_ref().filter(|_| wanted == "default").and_then(|ini| ini.section(Some("default"))),
    ];
    let found: Vec<&Properties> = sections.into_iter().flatten().collect();
    if found.is_empty() && asked.is_some() {
        let files = [config, credentials].into_iter().flatten().collect::<Vec<_>>();
        let mut names: Vec<String> = files
            .iter()
            .flat_map(|ini| ini.sections().flatten().map(|s| s.trim_start_matches("profile ").to_owned()))
            .collect();
        names.sort();
        names.dedup();
        return Err(StoreError::NoProfile { profile: wanted, has: names });
    }
    let get = |key: &str| found.iter().find_map(|section| section.get(key)).map(|v| v.trim().to_owned());
    let credentials = match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Some((id, secret, get("aws_session_token"))),
        _ => None,
    };
    let ways = ["sso_session", "sso_start_url", "credential_process", "role_arn"];
    let elsewhere = ways.into_iter().find(|way| get(way).is_some()).map(str::to_owned);
    Ok(Profile { credentials, region: get("region"), endpoint: get("endpoint_url"), elsewhere })
}

fn read(path: &std::path::Path) -> Result<Option<Ini>, StoreError> {
    let options = ini::ParseOption { enabled_escape: false, ..ini::ParseOption::default() };
    match Ini::load_from_file_opt(path, options) {
        Ok(ini) => Ok(Some(ini)),
        Err(ini::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(ini::Error::Io(source)) => {
            Err(StoreError::Io { action: "read", location: path.display().to_string(), key: ".".to_owned(), source })
        }
        // What the parser quotes may be a secret.
        Err(ini::Error::Parse(error)) => Err(StoreError::BadLocation {
            location: path.display().to_string(),
            reason: format!("line {} is no `KEY = VALUE` and no `[section]`", error.line),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn with(files: &[(&str, &str)], vars: &[(&str, &str)], name: Option<&str>) -> Result<Profile, StoreError> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        for (file, text) in files {
            fs::write(home.path().join(".aws").join(file), text).unwrap();
        }
        let env = |var: &str| match var {
            "HOME" => Some(home.path().display().to_string()),
            other => vars.iter().find(|(name, _)| *name == other).map(|(_, value)| (*value).to_owned()),
        };
        profile(name, &env)
    }

    const CONFIG: &str = "[default]\nregion = eu-west-1\n\n[profile lab]\nregion=us-west-2\nendpoint_url = http://lab:9000\n\
        s3 =\n  max_concurrent_requests = 20\n[profile single]\nsso_session = corp\n";
    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key = s/e\\c+r=t\n[lab]\naws_access_key_id=L\naws_secret_access_key=ls\naws_session_token=lt\n";

    #[test]
    fn keys_region_and_endpoint_come_from_both_files() {
        let files = [("config", CONFIG), ("credentials", CREDENTIALS)];
        let found = with(&files, &[], None).unwrap();
        assert_eq!(found.credentials, Some(("A".into(), "s/e\\c+r=t".into(), None)));
        assert_eq!(found.region.as_deref(), Some("eu-west-1"));
        for found in [with(&files, &[("AWS_PROFILE", "lab")], None), with(&files, &[("AWS_PROFILE", "x")], Some("lab"))]
        {
            let found = found.unwrap();
            assert_eq!(found.credentials, Some(("L".into(), "ls".into(), Some("lt".into()))));
            assert_eq!(found.endpoint.as_deref(), Some("http://lab:9000"));
        }
        let found = with(&files, &[], Some("single")).unwrap();
        assert_eq!((found.credentials, found.elsewhere.as_deref()), (None, Some("sso_session")));
    }

    #[test]
    fn a_profile_that_is_not_there_is_an_error_only_where_it_was_asked_for() {
        assert!(with(&[], &[], None).unwrap().credentials.is_none());
        let error = with(&[("config", CONFIG)], &[], Some("lib")).unwrap_err().to_string();
        assert!(error.contains("`lib`") && error.contains("`lab`"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_told_by_its_line_without_what_stands_there() {
        let error = with(&[("credentials", "[default]\nhunter2hunter2\n")], &[], None);
        if let Err(error) = error {
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
