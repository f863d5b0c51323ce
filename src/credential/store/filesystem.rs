//! Which filesystems are other machines': a lock, or a sync, may mean nothing there.

/// `statfs`'s magic numbers (`linux/magic.h`, and those of the filesystems that are kept elsewhere). FUSE is among them: what it
/// leads to cannot be seen, and is a network more often than not.
const NETWORK: [(u32, &str); 18] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0xaad7_aaea, "PanFS"),
    (0x786f_4256, "VirtualBox shared folder"),
    (0xbacb_acbc, "VMware shared folder"),
];

/// The name of a network's filesystem; `None`: it is a local one.
pub fn network(magic: impl TryInto<i128>) -> Option<&'static str> {
    // A signed 32-bit word on some machines.
    let low = u32::try_from(magic.try_into().ok()? & 0xffff_ffff).ok()?;
    NETWORK.iter().find(|(known, _)| *known == low).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn networks_are_known_whatever_the_word_is() {
        assert_eq!(network(0x6969_i64), Some("NFS"));
        assert_eq!(network(0xff53_4d42_u64), Some("CIFS"));
        assert_eq!(network(0xff53_4d42_u32.cast_signed()), Some("CIFS"));
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs.
        for local in [0xef53_i64, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(network(local), None, "{local:x}");
        }
    }
}
