//! The argument of bpf(2), one structure per command (`union bpf_attr`, `struct bpf_prog_info`).
//!
//! Written without implicit padding, since the kernel requires unused bytes to be zero. Addresses
//! are plain numbers here; only `sys` fills them in.

/// The argument of `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MapCreate {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) map_flags: u32,
    pub(crate) inner_map_fd: u32,
    pub(crate) numa_node: u32,
    pub(crate) map_name: [u8; 16],
    pub(crate) map_ifindex: u32,
    pub(crate) btf_fd: u32,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
    pub(crate) btf_vmlinux_value_type_id: u32,
    pub(crate) map_extra: u64,
}

/// The argument of the commands on one element of a map.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MapElem {
    pub(crate) map_fd: u32,
    pub(crate) unused: u32,
    pub(crate) key: u64,
    pub(crate) value: u64,
    pub(crate) flags: u64,
}

/// The argument of `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct ProgLoad {
    pub(crate) prog_type: u32,
    pub(crate) insn_cnt: u32,
    pub(crate) insns: u64,
    pub(crate) license: u64,
    pub(crate) log_level: u32,
    pub(crate) log_size: u32,
    pub(crate) log_buf: u64,
    pub(crate) kern_version: u32,
    pub(crate) prog_flags: u32,
    pub(crate) prog_name: [u8; 16],
    pub(crate) prog_ifindex: u32,
    pub(crate) expected_attach_type: u32,
    pub(crate) prog_btf_fd: u32,
    pub(crate) func_info_rec_size: u32,
    pub(crate) func_info: u64,
    pub(crate) func_info_cnt: u32,
    pub(crate) line_info_rec_size: u32,
    pub(crate) line_info: u64,
    pub(crate) line_info_cnt: u32,
    pub(crate) attach_btf_id: u32,
    pub(crate) attach_prog_fd: u32,
    pub(crate) core_relo_cnt: u32,
    pub(crate) fd_array: u64,
    pub(crate) core_relos: u64,
    pub(crate) core_relo_rec_size: u32,
    pub(crate) log_true_size: u32,
}

/// The argument of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct TestRun {
    pub(crate) prog_fd: u32,
    pub(crate) retval: u32,
    pub(crate) data_size_in: u32,
    pub(crate) data_size_out: u32,
    pub(crate) data_in: u64,
    pub(crate) data_out: u64,
    pub(crate) repeat: u32,
    pub(crate) duration: u32,
    pub(crate) ctx_size_in: u32,
    pub(crate) ctx_size_out: u32,
    pub(crate) ctx_in: u64,
    pub(crate) ctx_out: u64,
    pub(crate) flags: u32,
    pub(crate) cpu: u32,
    pub(crate) batch_size: u32,
    pub(crate) unused: u32,
}

/// The argument of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Info {
    pub(crate) bpf_fd: u32,
    pub(crate) info_len: u32,
    pub(crate) info: u64,
}

/// The argument of `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct BtfLoad {
    pub(crate) btf: u64,
    pub(crate) btf_log_buf: u64,
    pub(crate) btf_size: u32,
    pub(crate) btf_log_size: u32,
    pub(crate) btf_log_level: u32,
    pub(crate) btf_log_true_size: u32,
}

/// What the kernel says about a loaded program (`struct bpf_prog_info`).
#[repr(C)]
#[derive(Default)]
pub(crate) struct ProgInfo {
    pub(crate) prog_type: u32,
    pub(crate) id: u32,
    pub(crate) tag: [u8; 8],
    pub(crate) jited_prog_len: u32,
    pub(crate) xlated_prog_len: u32,
    pub(crate) jited_prog_insns: u64,
    pub(crate) xlated_prog_insns: u64,
    pub(crate) load_time: u64,
    pub(crate) created_by_uid: u32,
    pub(crate) nr_map_ids: u32,
    pub(crate) map_ids: u64,
    pub(crate) name: [u8; 16],
    pub(crate) ifindex: u32,
    pub(crate) gpl_compatible: u32,
    pub(crate) netns_dev: u64,
    pub(crate) netns_ino: u64,
    pub(crate) nr_jited_ksyms: u32,
    pub(crate) nr_jited_func_lens: u32,
    pub(crate) jited_ksyms: u64,
    pub(crate) jited_func_lens: u64,
    pub(crate) btf_id: u32,
    pub(crate) func_info_rec_size: u32,
    pub(crate) func_info: u64,
    pub(crate) nr_func_info: u32,
    pub(crate) nr_line_info: u32,
    pub(crate) line_info: u64,
    pub(crate) jited_line_info: u64,
    pub(crate) nr_jited_line_info: u32,
    pub(crate) line_info_rec_size: u32,
    pub(crate) jited_line_info_rec_size: u32,
    pub(crate) nr_prog_tags: u32,
    pub(crate) prog_tags: u64,
    pub(crate) run_time_ns: u64,
    pub(crate) run_cnt: u64,
    pub(crate) recursion_misses: u64,
    pub(crate) verified_insns: u32,
    pub(crate) attach_btf_obj_id: u32,
    pub(crate) attach_btf_id: u32,
    pub(crate) unused: u32,
}

/// A name as the kernel wants it: at most 15 bytes, filled up with zeros.
pub(crate) fn object_name(name: &str) -> Result<[u8; 16], crate::Error> {
    let mut bytes = [0; 16];
    match bytes.get_mut(..name.len()) {
        Some(start) if name.len() < 16 && !name.contains('\0') => {
            start.copy_from_slice(name.as_bytes());
            Ok(bytes)
        }
        _ => Err(crate::Error::Name { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    /// Sizes and late offsets of `union bpf_attr`'s members and `struct bpf_prog_info`.
    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!((size_of::<MapCreate>(), offset_of!(MapCreate, map_extra)), (72, 64));
        assert_eq!((size_of::<MapElem>(), offset_of!(MapElem, value)), (32, 16));
        assert_eq!((size_of::<ProgLoad>(), offset_of!(ProgLoad, log_true_size)), (144, 140));
        assert_eq!(offset_of!(ProgLoad, fd_array), 120);
        assert_eq!((size_of::<TestRun>(), offset_of!(TestRun, batch_size)), (80, 72));
        assert_eq!(size_of::<Info>(), 16);
        assert_eq!(size_of::<BtfLoad>(), 32);
        assert_eq!((size_of::<ProgInfo>(), offset_of!(ProgInfo, verified_insns)), (232, 216));
    }

    #[test]
    fn names_have_at_most_fifteen_bytes() {
        assert_eq!(object_name("abc").unwrap()[..4], *b"abc\0");
        assert_eq!(object_name("123456789012345").unwrap()[15], 0);
        assert!(object_name("1234567890123456").is_err());
        assert!(object_name("12345678901234567").is_err());
        assert!(object_name("a\0b").is_err());
    }
}
