//! Landlock: which files are opened, which TCP ports connected and bound, and that no other process is signalled.
//!
//! Rules hold for a directory and what is below it, so that a certificate that is replaced can be read again. What is open already
//! stays open. UDP is not ruled by Landlock, nor are Unix sockets that have a file: who may connect to one is for the permissions of
//! that file to say.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Enforced, Needs};

/// The newest set of rights that is used: files since Linux 5.13, TCP ports since 6.7, device commands since 6.10, signals and abstract
/// Unix sockets since 6.12. Older kernels enforce what they know.
const RIGHTS: ABI = ABI::V6;

/// Gives up files and ports but those in `needs`.
pub(super) fn enter(needs: &Needs) -> Result<Enforced, RulesetError> {
    let read = AccessFs::from_read(RIGHTS) & !BitFlags::from(AccessFs::Execute);
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    let ports = |ports: &std::collections::BTreeSet<u16>, access: AccessNet| {
        let rules = ports
            .iter()
            .map(move |port| Ok(NetPort::new(*port, access)));
        rules.collect::<Vec<Result<NetPort, RulesetError>>>()
    };
    let net = if needs.connect_any {
        BitFlags::from(AccessNet::BindTcp)
    } else {
        AccessNet::from_all(RIGHTS)
    };
    let connect = if needs.connect_any {
        Vec::new()
    } else {
        ports(&needs.connect, AccessNet::ConnectTcp)
    };
    let mut scopes = Scope::from_all(RIGHTS);
    if needs.abstract_sockets {
        scopes.remove(Scope::AbstractUnixSocket);
    }
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(net)?
        .scope(scopes)?
        .create()?
        .add_rules(path_beneath_rules(&needs.read, read))?
        .add_rules(path_beneath_rules(&needs.write, write))?
        .add_rules(connect)?
        .add_rules(ports(&needs.bind, AccessNet::BindTcp))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}
