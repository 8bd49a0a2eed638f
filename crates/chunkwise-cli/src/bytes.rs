//! Sizes in bytes as people write them.

use std::str::FromStr;

/// A number of bytes: `256MiB`, `2GiB`, `1.5 GB`, `4096`.
///
/// `K M G T` alone are the binary units, as in `2G`; `kB MB GB TB` are powers of 1000. Case does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

/// Text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no size; what works reads like `512MiB`, `2GiB` or `1.5GB`")]
pub(crate) struct BadBytes {
    text: String,
}

impl FromStr for Bytes {
    type Err = BadBytes;

    fn from_str(text: &str) -> Result<Bytes, BadBytes> {
        let bad = || BadBytes { text: text.to_owned() };
        let trimmed = text.trim();
        let at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..at], trimmed[at..].trim().to_ascii_lowercase());
        let factor: u64 = match unit.as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            _ => return Err(bad()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Bytes).ok_or_else(bad);
        }
        let bytes = number.parse::<f64>().map_err(|_| bad())? * factor as f64;
        // The first `f64` beyond what 64 bits hold.
        if bytes.is_finite() && bytes < 18_446_744_073_709_551_616.0 {
            Ok(Bytes(bytes.round() as u64))
        } else {
            Err(bad())
        }
    }
}

/// `2.1 GiB`: a size for people, in binary units with one decimal.
pub(crate) fn format_bytes(bytes: u128) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    // 1023.95 would be written as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        let of = |text: &str| text.parse::<Bytes>().unwrap().0;
        assert_eq!(of("256MiB"), 256 * 1024 * 1024);
        assert_eq!(of("2GiB"), 2_147_483_648);
        assert_eq!(of("2g"), 2_147_483_648);
        assert_eq!(of("1.5 GB"), 1_500_000_000);
        assert_eq!(of("4096"), 4096);
        assert_eq!(of("0.5KiB"), 512);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GiB", "-1", "1 parsec", "1e9", "nan", "1.2.3", "99999999999TiB", "18446744073709551616"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_with_one_decimal() {
        assert_eq!(format_bytes(0), "0 B");
        assert_eq!(format_bytes(1023), "1023 B");
        assert_eq!(format_bytes(1024), "1.0 KiB");
        assert_eq!(format_bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(format_bytes(2_254_857_830), "2.1 GiB");
        assert!(format_bytes(u128::MAX).ends_with(" EiB"));
    }
}
