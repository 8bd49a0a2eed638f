use super::*;

fn read(text: &str) -> String {
    match text.parse::<CodecChoice>() {
        Ok(choice) => choice.to_string(),
        Err(e) => e.problem,
    }
}

#[test]
fn settings_that_are_left_out_are_filled_in() {
    for (text, expected) in [
        ("zstd", "zstd:3"),
        ("zstd:-5", "zstd:-5"),
        ("gzip", "gzip:5"),
        ("blosc", "blosc:lz4:5:shuffle"),
        ("blosc:zstd", "blosc:zstd:5:shuffle"),
        ("BLOSC:lz4:1:BitShuffle", "blosc:lz4:1:bitshuffle"),
        ("none", "none"),
        ("auto", "auto"),
        ("zstd:9+crc32c", "zstd:9+crc32c"),
        ("lz4", "lz4"),
        ("zlib", "zlib:5"),
        ("bz2:1", "bz2:1"),
        ("lzma", "lzma:6"),
        ("pcodec", "pcodec:8"),
        ("delta+zstd", "delta+zstd:3"),
        ("bitround:10+blosc:zstd", "bitround:10+blosc:zstd:5:shuffle"),
        ("quantize:-1+delta+gzip+crc32c", "quantize:-1+delta+gzip:5+crc32c"),
        ("packbits", "packbits+none"),
    ] {
        assert_eq!(read(text), expected);
    }
}

#[test]
fn what_is_no_codec_is_told_why() {
    for (text, expected) in [
        ("lz5", "there is no `lz5`"),
        ("lz4:3", "`3` is one setting too many"),
        ("zstd+delta", "`delta` must stand before the compressor"),
        ("bitround+zstd", "it needs its number of bits, from 0 to 52"),
        ("zstd+crc32c+lz4", "nothing may follow `crc32c`"),
        ("zstd:23", "level `23` is not from -131072 to 22"),
        ("gzip:x", "level `x` is not from 0 to 9"),
        ("blosc:snap", "Blosc has no `snap`"),
        ("blosc:lz4:5:what", "Blosc has no shuffle `what`"),
        ("zstd:3:4", "`4` is one setting too many"),
        ("shuffle+zstd:3", "shuffling is part of Blosc, as in `blosc:zstd:3:shuffle`"),
        ("zstd+md5", "only `crc32c` may follow `+` behind the compressor, not `md5`"),
    ] {
        assert_eq!(read(text), expected);
    }
}

#[test]
fn a_chain_of_codecs_gives_the_choice_that_makes_it() {
    for text in [
        "none",
        "zstd:7",
        "gzip:2+crc32c",
        "blosc:zstd:4:bitshuffle",
        "blosc:lz4:5:noshuffle",
        "zlib:1",
        "bz2:9",
        "lz4+crc32c",
        "lzma:2",
        "delta+pcodec:4",
        "quantize:2+bitround:9+none",
    ] {
        let choice: CodecChoice = text.parse().unwrap();
        let chain = choice.v3(&DataType::Number(DType::Float32), 4);
        let none = serde_json::Map::new();
        let codecs = chain.iter().map(|c| {
            let settings = c.get("configuration").and_then(Value::as_object).unwrap_or(&none);
            (c["name"].as_str().unwrap(), settings)
        });
        assert_eq!(CodecChoice::from_codecs(codecs), Some(choice));
    }
    let none = serde_json::Map::new();
    assert_eq!(CodecChoice::from_codecs([("numcodecs.lzma2", &none)]), None);
}

#[test]
fn auto_shuffles_only_what_has_more_than_one_byte() {
    let of = |dtype| CodecChoice::default().resolve(&DataType::Number(dtype)).to_string();
    assert_eq!(of(DType::UInt8), "zstd:3");
    assert_eq!(of(DType::Bool), "zstd:3");
    assert_eq!(of(DType::UInt16), "blosc:lz4:5:shuffle");
    assert_eq!(of(DType::Float64), "blosc:lz4:5:shuffle");
}
