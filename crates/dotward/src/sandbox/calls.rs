//! seccomp: system calls that a forwarder has no use for fail with EPERM.
//!
//! A list of what is refused, not of what is allowed: a new C library or allocator uses calls nobody foresaw, and DNS that stops
//! after an update of the system helps nobody. Refused is what an intruder needs to go further: executing, making processes, making memory
//! executable, looking into other processes and signalling them, changing what the kernel runs, mounts, namespaces, keys, clocks, raw sockets, and io_uring,
//! which would go past all of this.
//!
//! `clone3` fails with ENOSYS, because its arguments cannot be looked into: the C library then uses `clone`, which may make threads only.

use std::collections::BTreeMap;
use std::fmt;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};

/// Refused whatever their arguments.
const REFUSED: &[i64] = &[
    // Executing.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_kcmp,
    // What the kernel runs.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Mounts, namespaces, roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    // Who we are, and what the machine is called.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_personality,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Files that are made what they were not.
    libc::SYS_mknodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    // Keys, clocks, log of the kernel, shared memory.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_shmat,
    libc::SYS_memfd_secret,
];

/// Those of one architecture alone.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_mknod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// By musl a thread signals itself with it when it aborts; whose thread it is cannot be told from the arguments. glibc has no use for it.
#[cfg(not(target_env = "musl"))]
const REFUSED_BY_LIBRARY: &[i64] = &[libc::SYS_tkill];
#[cfg(target_env = "musl")]
const REFUSED_BY_LIBRARY: &[i64] = &[];

/// Why there is no filter.
#[derive(Debug)]
pub(super) enum CallsError {
    /// The library knows no numbers for this processor, or the filter was not accepted as one.
    Filter(seccompiler::BackendError),
    /// The kernel refused.
    Kernel(seccompiler::Error),
}

impl fmt::Display for CallsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

/// Gives the calls up, for every thread of the process.
pub(super) fn enter() -> Result<(), CallsError> {
    let arch: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(CallsError::Filter)?;
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let programs = [
        filter(refused().map_err(CallsError::Filter)?, libc::EPERM, arch),
        filter(absent, libc::ENOSYS, arch),
    ];
    for program in programs {
        let program = program.map_err(CallsError::Filter)?;
        apply_filter_all_threads(&program).map_err(CallsError::Kernel)?;
    }
    if let Some(program) = second_numbering() {
        apply_filter_all_threads(&program).map_err(CallsError::Kernel)?;
    }
    Ok(())
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    arch: TargetArch,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?.try_into()
}

/// TIOCSTI of `asm-generic/ioctls.h`, the same on every architecture this filter is for. The `libc` crate's constant has the type of the
/// C library's `ioctl`, which is another one with musl.
const TYPE_IN: u64 = 0x5412;

/// FIOSETOWN and SIOCSPGRP of `asm-generic/sockios.h`: whom the kernel signals when a socket can be read, likewise.
const OWN: [u64; 2] = [0x8901, 0x8902];

/// F_SETOWN, F_SETSIG and F_SETOWN_EX of `asm-generic/fcntl.h`: whom the kernel signals when a file can be read, and how, which may be
/// SIGKILL.
const OWN_FILE: [u64; 3] = [8, 10, 15];

fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let always = REFUSED.iter().chain(REFUSED_HERE);
    let always = always.chain(REFUSED_BY_LIBRARY);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        always.map(|call| (*call, Vec::new())).collect();
    let number = |value: i32| u64::from(value.unsigned_abs());
    let argument = |place, is, value| SeccompCondition::new(place, Len::Dword, is, value);
    let executable = number(libc::PROT_EXEC);
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        let makes_executable = argument(2, Is::MaskedEq(executable), executable)?;
        rules.insert(call, vec![SeccompRule::new(vec![makes_executable])?]);
    }
    let thread = number(libc::CLONE_THREAD);
    let makes_process = argument(0, Is::MaskedEq(thread), 0)?;
    rules.insert(
        libc::SYS_clone,
        vec![SeccompRule::new(vec![makes_process])?],
    );
    // With it a thread of ours signals itself when it aborts, and the C library the others.
    let own = u64::from(std::process::id());
    let other_process = argument(0, Is::Ne, own)?;
    rules.insert(
        libc::SYS_tgkill,
        vec![SeccompRule::new(vec![other_process])?],
    );
    let families = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ];
    let other = families.map(|family| argument(0, Is::Ne, number(family)));
    let mut sockets = vec![SeccompRule::new(
        other.into_iter().collect::<Result<_, _>>()?,
    )?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        // The kind is below the flags.
        let raw = argument(1, Is::MaskedEq(0xf), number(libc::SOCK_RAW))?;
        let family = argument(0, Is::Eq, number(family))?;
        sockets.push(SeccompRule::new(vec![family, raw])?);
    }
    rules.insert(libc::SYS_socket, sockets);
    // Typing into the terminal that started us, and signals that the kernel sends for us.
    let commands = |commands: &[u64]| {
        let commands = commands.iter();
        let commands = commands.map(|it| SeccompRule::new(vec![argument(1, Is::Eq, *it)?]));
        commands.collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_ioctl, commands(&[TYPE_IN, OWN[0], OWN[1]])?);
    rules.insert(libc::SYS_fcntl, commands(&OWN_FILE)?);
    // The limits of another process: one without processor time is ended.
    let other_process = argument(0, Is::Ne, 0)?;
    rules.insert(
        libc::SYS_prlimit64,
        vec![SeccompRule::new(vec![other_process])?],
    );
    Ok(rules)
}

/// On x86-64 every call may have a second number (the x32 ABI), which the filters above do not know: none of those is needed.
fn second_numbering() -> Option<BpfProgram> {
    const X32: u32 = 0x4000_0000;
    let step = |code: u32, jt, jf, k| {
        Some(sock_filter {
            code: u16::try_from(code).ok()?,
            jt,
            jf,
            k,
        })
    };
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let load = step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)?;
    let second = step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32)?;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let refuse = step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse)?;
    let allow = step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW)?;
    Some(vec![load, second, refuse, allow])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_to_threads_of_this_process_alone() {
        let rules = refused().unwrap();
        for call in [
            libc::SYS_kill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_pidfd_send_signal,
        ] {
            assert_eq!(rules.get(&call), Some(&Vec::new()), "{call} always fails");
        }
        let own = u64::from(std::process::id());
        let other = SeccompCondition::new(0, Len::Dword, Is::Ne, own).unwrap();
        let other = SeccompRule::new(vec![other]).unwrap();
        assert_eq!(rules.get(&libc::SYS_tgkill), Some(&vec![other]));
        let refused_commands = |call| rules.get(&call).map_or(0, Vec::len);
        assert_eq!(refused_commands(libc::SYS_fcntl), OWN_FILE.len());
        assert_eq!(refused_commands(libc::SYS_ioctl), 1 + OWN.len());
        let by_number = rules.contains_key(&libc::SYS_tkill);
        assert_eq!(by_number, !cfg!(target_env = "musl"));
    }
}
