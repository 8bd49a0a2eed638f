//! From a location, options and the environment to a store.

use super::place::parts;
use super::profile::profile;
use super::retry::FIRST_CONTACT;
use super::wire::{Metadata, Watch};
use super::{Inner, PARTS, RemoteStore, Service};
use crate::runtime;
use crate::store::{StorageOptions, StoreError, secret};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::azure::{AzureConfigKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::{ClientConfigKey, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

const RETRY: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
const CONCURRENCY: usize = 64;

/// Whether some kind of store has an option of this name.
pub(crate) fn knows_option(key: &str) -> bool {
    AmazonS3ConfigKey::from_str(key).is_ok()
        || GoogleConfigKey::from_str(key).is_ok()
        || AzureConfigKey::from_str(key).is_ok()
        || ClientConfigKey::from_str(key).is_ok()
}

/// A variable of the environment; an empty one is none.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The store at `location`, which has no group. Nothing is asked of it yet.
///
/// # Errors
/// A location or option that cannot be understood, or a profile that is not there.
pub(crate) fn open(location: &str, options: &StorageOptions) -> Result<Arc<RemoteStore>, StoreError> {
    secret::remember_url(location);
    let parts = parts(location)?;
    let times = Times::of(options)?;
    let bad = |error: object_store::Error| StoreError::BadLocation {
        location: secret::mask(location),
        reason: secret::mask(&super::retry::root(&error)),
    };
    let (client, service, anonymous, prefix): (Client, _, _, _) = match parts.scheme.as_str() {
        "s3" | "s3a" => {
            let (builder, anonymous) = s3(&parts.bucket, options, &times)?;
            (in_parts(builder.build().map_err(bad)?), Service::S3, anonymous, parts.prefix)
        }
        "gs" | "gcs" => {
            let (builder, anonymous) = gcs(&parts.bucket, options, &times)?;
            (in_parts(builder.build().map_err(bad)?), Service::Gcs, anonymous, parts.prefix)
        }
        "http" | "https" => {
            let (builder, anonymous) = http(location, options, &times)?;
            ((Arc::new(builder.build().map_err(bad)?), None), Service::Http, anonymous, String::new())
        }
        _ => {
            let (builder, anonymous) = azure(&parts.bucket, parts.account, options, &times)?;
            (in_parts(builder.build().map_err(bad)?), Service::Azure, anonymous, parts.prefix)
        }
    };
    let handle = runtime::handle().map_err(|source| StoreError::Io {
        action: "read",
        location: secret::mask(location),
        key: ".".to_owned(),
        source,
    })?;
    let (client, multipart) = client;
    let inner = Inner {
        client,
        multipart,
        service,
        location: secret::mask(location.trim_end_matches('/')),
        prefix,
        absent_on: options.absent_on.clone(),
        anonymous,
        retry_timeout: times.retry,
        first_contact: times.first,
        requests: Semaphore::new(options.count("concurrency")?.unwrap_or(CONCURRENCY)),
        parts: Arc::new(Semaphore::new(PARTS)),
        handle,
        contact: AtomicBool::new(false),
        repeated: AtomicU64::new(0),
    };
    Ok(Arc::new(RemoteStore { inner: Arc::new(inner) }))
}

/// A service, and the same where it takes objects in parts.
type Client = (Arc<dyn ObjectStore>, Option<Arc<dyn MultipartStore>>);

fn in_parts(service: impl ObjectStore + MultipartStore) -> Client {
    let service = Arc::new(service);
    (service.clone(), Some(service))
}

struct Times {
    retry: Duration,
    first: Duration,
    stall: Duration,
    connect: Duration,
}

impl Times {
    fn of(options: &StorageOptions) -> Result<Times, StoreError> {
        let asked = options.duration("retry_timeout")?;
        let retry = asked.unwrap_or(RETRY);
        Ok(Times {
            retry,
            first: asked.unwrap_or(FIRST_CONTACT),
            // No answer is waited for longer than it could be asked for again.
            stall: options.duration("stall_timeout")?.unwrap_or(STALL).min(retry.max(Duration::from_secs(1))),
            connect: options.duration("connect_timeout")?.unwrap_or(CONNECT).min(retry.max(Duration::from_secs(1))),
        })
    }

    /// Clients of plain HTTP only where the user wrote it: `endpoint` begins with `http://`.
    fn client(&self, options: &StorageOptions, plain: bool) -> ClientOptions {
        let mut client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(self.connect)
            .with_allow_http(plain)
            .with_config(ClientConfigKey::ReadTimeout, format!("{}ms", self.stall.as_millis()))
            .with_config(ClientConfigKey::UserAgent, concat!("chunkwise/", env!("CARGO_PKG_VERSION")));
        for (key, value) in &options.values {
            if let Ok(key) = ClientConfigKey::from_str(key)
                && key != ClientConfigKey::ConnectTimeout
            {
                client = client.with_config(key, value);
            }
        }
        client
    }
}

/// Repeats are ours.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn is_plain(endpoint: Option<&str>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// Whether requests are to go without a signature: as asked, or where nothing to sign with was found.
fn unsigned(options: &StorageOptions, found: bool) -> Result<bool, StoreError> {
    let metadata = options.flag("instance_metadata")?.unwrap_or(false);
    Ok(options.flag("anonymous")?.unwrap_or(!found && !metadata))
}

fn metadata(options: &StorageOptions) -> Result<Metadata, StoreError> {
    Ok(if options.flag("instance_metadata")? == Some(true) { Metadata::Asked } else { Metadata::Never })
}

fn s3(bucket: &str, options: &StorageOptions, times: &Times) -> Result<(AmazonS3Builder, bool), StoreError> {
    use AmazonS3ConfigKey as Key;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(once());
    let named = options.get("profile");
    let profile = profile(named, &env)?;
    let has = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some_and(|v| !v.is_empty());
    // A profile that is asked for here goes before the environment, which goes before one that stands there anyway.
    if let Some((id, key, token)) = profile.credentials
        && (named.is_some() || !has(&builder, Key::AccessKeyId))
    {
        builder = builder.with_access_key_id(id).with_secret_access_key(key);
        builder = builder.with_config(Key::Token, token.unwrap_or_default());
    }
    if let Some(region) = profile.region
        && (named.is_some() || !has(&builder, Key::Region))
    {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = profile.endpoint
        && (named.is_some() || !(has(&builder, Key::Endpoint) || has(&builder, Key::S3Endpoint)))
    {
        builder = builder.with_endpoint(endpoint);
    }
    for (key, value) in &options.values {
        if let Ok(key) = Key::from_str(key)
            && !matches!(key, Key::Client(_) | Key::Bucket)
        {
            builder = builder.with_config(key, value);
        }
    }
    for key in [Key::SecretAccessKey, Key::Token] {
        secret::remember(&builder.get_config_value(&key).unwrap_or_default());
    }
    let roles = (has(&builder, Key::WebIdentityTokenFile) && has(&builder, Key::RoleArn))
        || has(&builder, Key::ContainerCredentialsRelativeUri)
        || has(&builder, Key::ContainerCredentialsFullUri);
    let found = has(&builder, Key::AccessKeyId) || has(&builder, Key::SecretAccessKey) || roles;
    let anonymous = unsigned(options, found)?;
    if let Some(way) = profile.elsewhere.filter(|_| anonymous && !found && options.get("anonymous").is_none()) {
        return Err(StoreError::ProfileElsewhere { way });
    }
    if anonymous {
        // Where it has no credentials, `object_store` would look for the machine's.
        let none = AwsCredential { key_id: String::new(), secret_key: String::new(), token: None };
        builder = builder.with_skip_signature(true).with_credentials(Arc::new(StaticCredentialProvider::new(none)));
    } else if builder.get_config_value(&Key::Token).is_some_and(|token| token.is_empty()) {
        // An empty session token would be signed, and refused.
        let (id, key) = (builder.get_config_value(&Key::AccessKeyId), builder.get_config_value(&Key::SecretAccessKey));
        if let (Some(id), Some(key)) = (id, key) {
            let own = AwsCredential { key_id: id, secret_key: key, token: None };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(own)));
        }
    }
    let endpoint = builder.get_config_value(&Key::S3Endpoint).or_else(|| builder.get_config_value(&Key::Endpoint));
    if let Some(endpoint) = &endpoint {
        secret::remember_url(endpoint);
    }
    builder = builder.with_client_options(times.client(options, is_plain(endpoint.as_deref())));
    let metadata = if roles { Metadata::Asked } else { metadata(options)? };
    Ok((builder.with_http_connector(Watch { metadata, stall: times.stall }), anonymous))
}

fn gcs(bucket: &str, options: &StorageOptions, times: &Times) -> Result<(GoogleCloudStorageBuilder, bool), StoreError> {
    use GoogleConfigKey as Key;
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(once());
    // What Google's own libraries use for emulators; nothing is signed there.
    let emulator =
        env("STORAGE_EMULATOR_HOST").map(|host| if host.contains("://") { host } else { format!("http://{host}") });
    if let Some(host) = &emulator {
        builder = builder.with_config(Key::BaseUrl, host.trim_end_matches('/'));
    }
    for (key, value) in &options.values {
        let own = if key == "endpoint" { Ok(Key::BaseUrl) } else { Key::from_str(key) };
        if let Ok(key) = own
            && !matches!(key, Key::Client(_) | Key::Bucket)
        {
            builder = builder.with_config(key, value);
        }
    }
    let has = |key| builder.get_config_value(&key).is_some_and(|v| !v.is_empty());
    for key in [Key::ServiceAccountKey, Key::BearerToken] {
        secret::remember(&builder.get_config_value(&key).unwrap_or_default());
    }
    let home = env("HOME").unwrap_or_default();
    let own_file = std::path::Path::new(&home).join(".config/gcloud/application_default_credentials.json").is_file();
    let found = emulator.is_none()
        && (has(Key::ServiceAccount)
            || has(Key::ServiceAccountKey)
            || has(Key::ApplicationCredentials)
            || has(Key::BearerToken)
            || own_file);
    let anonymous = unsigned(options, found)?;
    let plain = is_plain(builder.get_config_value(&Key::BaseUrl).as_deref());
    if anonymous {
        let none = GcpCredential { bearer: String::new() };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(none)));
    }
    builder = builder.with_skip_signature(anonymous).with_client_options(times.client(options, plain));
    Ok((builder.with_http_connector(Watch { metadata: metadata(options)?, stall: times.stall }), anonymous))
}

fn azure(
    container: &str,
    account: Option<String>,
    options: &StorageOptions,
    times: &Times,
) -> Result<(MicrosoftAzureBuilder, bool), StoreError> {
    use AzureConfigKey as Key;
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container).with_retry(once());
    for (key, value) in env("AZURE_STORAGE_CONNECTION_STRING").iter().flat_map(|text| connection(text)) {
        builder = builder.with_config(key, value);
    }
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    for (key, value) in &options.values {
        if let Ok(key) = Key::from_str(key)
            && !matches!(key, Key::Client(_) | Key::ContainerName)
        {
            builder = builder.with_config(key, value);
        }
    }
    let has = |key| builder.get_config_value(&key).is_some_and(|v| !v.is_empty());
    for key in [Key::AccessKey, Key::SasKey, Key::Token, Key::ClientSecret] {
        secret::remember(&builder.get_config_value(&key).unwrap_or_default());
    }
    if let Some(sas) = builder.get_config_value(&Key::SasKey) {
        secret::remember_url(&format!("sas://x/?{}", sas.trim_start_matches('?')));
    }
    let emulated = builder.get_config_value(&Key::UseEmulator).is_some_and(|v| v == "true");
    if !has(Key::AccountName) && !emulated {
        return Err(StoreError::NoAccount { container: container.to_owned() });
    }
    let found = emulated
        || has(Key::AccessKey)
        || has(Key::SasKey)
        || has(Key::Token)
        || has(Key::ClientSecret)
        || has(Key::FederatedTokenFile)
        || builder.get_config_value(&Key::UseAzureCli).is_some_and(|v| v == "true");
    let anonymous = unsigned(options, found)?;
    let plain = emulated || is_plain(builder.get_config_value(&Key::Endpoint).as_deref());
    if anonymous {
        let none = AzureCredential::BearerToken(String::new());
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(none)));
    }
    builder = builder.with_skip_signature(anonymous).with_client_options(times.client(options, plain));
    Ok((builder.with_http_connector(Watch { metadata: metadata(options)?, stall: times.stall }), anonymous))
}

/// What a connection string says: `AccountName=…;AccountKey=…;BlobEndpoint=…`.
fn connection(text: &str) -> Vec<(AzureConfigKey, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let key = match name.trim() {
            "AccountName" => AzureConfigKey::AccountName,
            "AccountKey" => AzureConfigKey::AccessKey,
            "BlobEndpoint" => AzureConfigKey::Endpoint,
            "SharedAccessSignature" => AzureConfigKey::SasKey,
            _ => return None,
        };
        Some((key, value.to_owned()))
    };
    text.split(';').filter_map(pair).collect()
}

fn http(location: &str, options: &StorageOptions, times: &Times) -> Result<(HttpBuilder, bool), StoreError> {
    let bad = |reason: String| StoreError::BadLocation { location: secret::mask(location), reason };
    let mut url = Url::parse(location).map_err(|e| bad(e.to_string()))?;
    let mut client = times.client(options, url.scheme() == "http");
    let (user, password) = (url.username().to_owned(), url.password().map(str::to_owned));
    let mut anonymous = true;
    if !user.is_empty() || password.is_some() {
        // Sent as a header, so that no message of a library has it.
        use base64::Engine as _;
        let plain = |text: &str| urlencoded(text);
        let (user, password) = (plain(&user), plain(&password.unwrap_or_default()));
        secret::remember(&password);
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        secret::remember(&encoded);
        let mut value = http::HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|e| bad(e.to_string()))?;
        value.set_sensitive(true);
        client = client.with_default_headers([(http::header::AUTHORIZATION, value)].into_iter().collect());
        anonymous = false;
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    let watch = Watch { metadata: Metadata::Asked, stall: times.stall };
    Ok((
        HttpBuilder::new().with_url(url).with_client_options(client).with_retry(once()).with_http_connector(watch),
        anonymous,
    ))
}

/// Text without `%XX`.
fn urlencoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
