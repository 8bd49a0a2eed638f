//! Cells of text.

use super::error::DecodeError;

fn list(cells: usize) -> Result<Vec<String>, DecodeError> {
    let mut texts = Vec::new();
    let bytes = (cells as u64).saturating_mul(size_of::<String>() as u64);
    texts.try_reserve_exact(cells).map_err(|_| DecodeError::Memory { bytes })?;
    Ok(texts)
}

fn empty(cells: usize) -> Result<Vec<String>, DecodeError> {
    filled("", cells)
}

/// As many texts of one kind.
pub(crate) fn filled(text: &str, cells: usize) -> Result<Vec<String>, DecodeError> {
    let bytes = (cells as u64).saturating_mul(text.len() as u64);
    if bytes > super::chain::TEXT_BYTES {
        return Err(DecodeError::Memory { bytes });
    }
    let mut texts = list(cells)?;
    texts.resize(cells, text.to_owned());
    Ok(texts)
}

fn utf8(bytes: &[u8], cell: usize) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned).map_err(|_| DecodeError::Text { cell, expected: "UTF-8" })
}

/// `|S`: so many bytes a cell, filled up with NUL.
pub(crate) fn bytes(bytes: &[u8], width: usize, cells: usize) -> Result<Vec<String>, DecodeError> {
    if width == 0 {
        return empty(cells);
    }
    let mut texts = list(bytes.len() / width)?;
    for (cell, piece) in bytes.chunks_exact(width).enumerate() {
        let end = piece.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
        texts.push(utf8(&piece[..end], cell)?);
    }
    Ok(texts)
}

/// `<U`: so many code points a cell, filled up with NUL, in the byte order of this machine.
pub(crate) fn utf32(bytes: &[u8], points: usize, cells: usize) -> Result<Vec<String>, DecodeError> {
    if points == 0 {
        return empty(cells);
    }
    let units = bytes.as_chunks::<4>().0;
    let mut texts = list(units.len() / points)?;
    for (cell, piece) in units.chunks_exact(points).enumerate() {
        let end = piece.iter().rposition(|u| *u != [0; 4]).map_or(0, |at| at + 1);
        let text: Option<String> = piece[..end].iter().map(|u| char::from_u32(u32::from_ne_bytes(*u))).collect();
        texts.push(text.ok_or(DecodeError::Text { cell, expected: "UTF-32" })?);
    }
    Ok(texts)
}

/// `vlen-utf8`: how many cells, then each with its length before it; lengths are 4 bytes, little-endian.
pub(crate) fn variable(bytes: &[u8], cells: usize) -> Result<Vec<String>, DecodeError> {
    let truncated = || DecodeError::Truncated { codec: "vlen-utf8".to_owned(), found: bytes.len() as u64 };
    let (head, mut rest) = bytes.split_first_chunk::<4>().ok_or_else(truncated)?;
    let found = u64::from(u32::from_le_bytes(*head));
    if found != cells as u64 {
        return Err(DecodeError::Cells { found, expected: cells as u64 });
    }
    // Each cell takes four bytes at least: a list for more than these allow is never made.
    if rest.len() / 4 < cells {
        return Err(truncated());
    }
    let mut texts = list(cells)?;
    for cell in 0..cells {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, after) = after.split_at_checked(length).ok_or_else(truncated)?;
        texts.push(utf8(text, cell)?);
        rest = after;
    }
    Ok(texts)
}
