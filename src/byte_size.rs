//! Numbers of bytes as people read them.

/// `2.1 MiB`, `512 KiB` or `80 bytes`, rounded down.
pub(crate) fn rounded(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let tenths = |unit: u64, name| format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        ..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        0x10_0000..0x4000_0000 => tenths(MIB, "MiB"),
        0x4000_0000..0x100_0000_0000 => tenths(MIB << 10, "GiB"),
        _ => tenths(MIB << 20, "TiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1_048_575, "1023 KiB"),
            (1_048_576, "1.0 MiB"),
            (10_485_759, "9.9 MiB"),
            (1_073_741_823, "1023.9 MiB"),
            (1_073_741_824, "1.0 GiB"),
            (1_649_267_441_664, "1.5 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(rounded(bytes), expected);
        }
    }
}
