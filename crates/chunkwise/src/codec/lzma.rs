//! `lzma`: what Python's module of this name writes.

use super::error::BoxError;
use chunkwise_core::cube::Attrs;
use liblzma::stream::{CONCATENATED, Check, Filters, LzmaOptions, Stream};
use serde_json::Value;

/// A dictionary takes at most this much while decoding; the highest preset has 64 MiB.
const MEMORY: u64 = 128 << 20;

/// How the bytes lie in a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// `.xz`: with this preset (its high bit: "extreme") and check in writing.
    Xz { preset: u32, check: i64 },
    /// `.lzma`, as it was before.
    Alone { preset: u32 },
    /// Either, by the first bytes.
    Any,
    /// Without a header, through these filters.
    Raw(Vec<Value>),
}

/// The settings as numcodecs has them.
pub(super) fn form(settings: &Attrs) -> Result<Form, BoxError> {
    let number = |key: &str, usual: i64| match settings.get(key) {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => value.as_i64().ok_or_else(|| BoxError::from(format!("`{key}` is `{value}`, no number"))),
    };
    let preset = u32::try_from(number("preset", 6)?)?;
    let filters = settings.get("filters").filter(|f| !f.is_null());
    match (number("format", 1)?, filters) {
        (0, None) => Ok(Form::Any),
        (1, _) => Ok(Form::Xz { preset, check: number("check", -1)? }),
        (2, _) => Ok(Form::Alone { preset }),
        (3, Some(Value::Array(list))) if (1..=4).contains(&list.len()) => {
            let form = Form::Raw(list.clone());
            raw(list)?;
            Ok(form)
        }
        (3, _) => Err("`filters` is no list of filters, which `format` 3 needs".into()),
        (other, _) => Err(format!("`format` {other} is not known; known are 0, 1, 2 and 3").into()),
    }
}

/// A stream that decodes, within memory that does not hang on what the bytes say.
pub(super) fn decoder(form: &Form) -> Result<Stream, BoxError> {
    Ok(match form {
        Form::Xz { .. } => Stream::new_stream_decoder(MEMORY, CONCATENATED)?,
        Form::Alone { .. } => Stream::new_lzma_decoder(MEMORY)?,
        Form::Any => Stream::new_auto_decoder(MEMORY, CONCATENATED)?,
        Form::Raw(list) => Stream::new_raw_decoder(&raw(list)?)?,
    })
}

/// A stream that encodes.
pub(super) fn encoder(form: &Form) -> Result<Stream, BoxError> {
    Ok(match form {
        Form::Any => return Err("`format` 0 is for reading only".into()),
        Form::Xz { preset, check } => {
            let check = match check {
                -1 | 4 => Check::Crc64,
                0 => Check::None,
                1 => Check::Crc32,
                10 => Check::Sha256,
                other => return Err(format!("`check` {other} is not known").into()),
            };
            Stream::new_easy_encoder(*preset, check)?
        }
        Form::Alone { preset } => Stream::new_lzma_encoder(&LzmaOptions::new_preset(*preset)?)?,
        Form::Raw(list) => Stream::new_raw_encoder(&raw(list)?)?,
    })
}

/// Python's list of filters.
fn raw(list: &[Value]) -> Result<Filters, BoxError> {
    let mut filters = Filters::new();
    for filter in list {
        let number = |key: &str| filter.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let id = filter.get("id").and_then(Value::as_u64).ok_or("a filter has no `id`")?;
        match id {
            3 => {
                let distance = number("dist").unwrap_or(1);
                let distance = distance.checked_sub(1).and_then(|n| u8::try_from(n).ok());
                filters.delta_properties(&[distance.ok_or("`dist` of a filter is not from 1 to 256")?])?;
            }
            0x21 | 0x4000_0000_0000_0001 => {
                let mut options = LzmaOptions::new_preset(number("preset").unwrap_or(6))?;
                if let Some(size) = number("dict_size") {
                    if u64::from(size) > MEMORY {
                        return Err(format!("a dictionary of {size} bytes is too large").into());
                    }
                    options.dict_size(size);
                }
                for (key, set) in [
                    ("lc", LzmaOptions::literal_context_bits as fn(&mut LzmaOptions, u32) -> &mut LzmaOptions),
                    ("lp", LzmaOptions::literal_position_bits),
                    ("pb", LzmaOptions::position_bits),
                    ("nice_len", LzmaOptions::nice_len),
                    ("depth", LzmaOptions::depth),
                ] {
                    if let Some(value) = number(key) {
                        set(&mut options, value);
                    }
                }
                if id == 0x21 {
                    filters.lzma2(&options)
                } else {
                    filters.lzma1(&options)
                };
            }
            other => return Err(format!("the filter {other:#x} is not supported").into()),
        }
    }
    Ok(filters)
}
