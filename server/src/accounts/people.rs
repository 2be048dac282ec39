//! The people of an org: who belongs to it, as what, and what may become of that.
//!
//! A person is known once, by their e-mail address, and may belong to several orgs, with a role in each.

use std::sync::Arc;

use uuid::Uuid;

use super::{Role, User};

/// An org that a person belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Membership {
    /// Which org.
    pub org: Uuid,
    /// What they may do there.
    pub role: Role,
}

/// An org that a person belongs to or is invited to.
#[derive(Debug, Clone, Copy)]
pub struct Joining {
    /// Which org.
    pub org: Uuid,
    /// Whether they accepted.
    pub has_accepted: bool,
    /// Whether another org gave out their first password since they were invited.
    pub is_outdated: bool,
}

/// The most groups that a member is in.
const MAX_GROUPS: usize = 32;
/// The longest name of a group, in bytes.
const MAX_GROUP_BYTES: usize = 64;

/// The groups of a member as they are kept: in order, none twice. An error says what is wrong with them.
pub fn groups(mut names: Vec<String>) -> Result<Vec<String>, &'static str> {
    let can_be = |name: &String| {
        (1..=MAX_GROUP_BYTES).contains(&name.len()) && name.trim() == name && !name.contains(char::is_control)
    };
    names.sort_unstable();
    names.dedup();
    match () {
        () if names.len() > MAX_GROUPS => Err("must be at most 32"),
        () if !names.iter().all(can_be) => {
            Err("must be names of 1 to 64 bytes, without control characters or spaces around them")
        }
        // Where a policy asks for an approval, it names a group or a role.
        () if names.iter().any(|name| Role::named(name).is_some()) => Err("can't be called like a role"),
        () => Ok(names),
    }
}

/// A person of an org.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who.
    pub user: Uuid,
    /// Their e-mail address.
    pub email: String,
    /// What they may do, once they accepted.
    pub role: Role,
    /// Since when they may accept.
    pub invited_at_us: i64,
    /// Since when they belong to the org; none if they did not accept yet.
    pub accepted_at_us: Option<i64>,
    /// Whether their password was made up and not used yet.
    pub one_time: bool,
    /// Whether another org gave out their first password since they were invited: logging in does not accept it then.
    pub is_outdated: bool,
    /// The groups that they are in.
    pub groups: Vec<String>,
}

/// A change of who belongs to an org.
#[derive(Debug, Clone)]
pub enum Step {
    /// Somebody may join.
    Invite {
        /// Who.
        user: Arc<User>,
        /// Whether nobody knew them before.
        is_new: bool,
        /// As what.
        role: Role,
        /// What the one who invites is.
        by: Role,
    },
    /// Somebody who was invited logged in.
    Accept {
        /// Who.
        user: Uuid,
    },
    /// A password that was made up was used: it is worth nothing any more.
    SpendPassword {
        /// Who.
        user: Uuid,
        /// The hash that it matched.
        hash: String,
    },
    /// Somebody who never logged in gets another password for that.
    IssuePassword {
        /// Who.
        user: Uuid,
        /// Its hash.
        hash: String,
        /// What the one who says so is.
        by: Role,
    },
    /// Somebody is in other groups.
    SetGroups {
        /// Who.
        user: Uuid,
        /// Those that they are in from now on.
        groups: Vec<String>,
        /// What the one who says so is.
        by: Role,
    },
    /// Somebody gets another role.
    SetRole {
        /// Who.
        user: Uuid,
        /// What they are from now on.
        role: Role,
        /// What the one who says so is.
        by: Role,
    },
    /// Somebody does not belong to it any more.
    Remove {
        /// Who.
        user: Uuid,
        /// What the one who says so is; none if they leave by themselves.
        by: Option<Role>,
    },
}

impl Step {
    /// How the ledger names it.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Invite { .. } => "invited",
            Step::Accept { .. } => "accepted",
            Step::SpendPassword { .. } => "password_spent",
            Step::IssuePassword { .. } => "password_issued",
            Step::SetGroups { .. } => "groups_set",
            Step::SetRole { .. } => "role_set",
            Step::Remove { by: Some(_), .. } => "removed",
            Step::Remove { by: None, .. } => "left",
        }
    }

    /// Whom it is about.
    pub fn user(&self) -> Uuid {
        match self {
            Step::Invite { user, .. } => user.id,
            Step::Accept { user }
            | Step::SpendPassword { user, .. }
            | Step::IssuePassword { user, .. }
            | Step::SetGroups { user, .. }
            | Step::SetRole { user, .. }
            | Step::Remove { user, .. } => *user,
        }
    }
}

/// Why nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// There is nobody like that here.
    #[error("there is no such member")]
    Nobody,
    /// They are here already.
    #[error("that person is a member or invited already")]
    Already,
    /// It takes an owner.
    #[error("only an owner decides who is an owner")]
    OnlyOwners,
    /// Nobody else gives them a password.
    #[error("that person has logged in before, or was given a password to keep: nobody else sets it")]
    HasPassword,
    /// Nobody would be left to decide.
    #[error("an org keeps at least one owner")]
    LastOwner,
}

/// Everybody who belongs to an org or may join it.
#[derive(Debug, Default)]
pub struct People(pub Vec<Member>);

impl People {
    /// Takes a step: the member as they are from now on, or none if they are gone.
    pub fn take(&mut self, step: &Step, at_us: i64) -> Result<Option<Member>, PeopleError> {
        let place = self.0.iter().position(|member| member.user == step.user());
        let found = place.and_then(|place| self.0.get(place)).cloned();
        let owns = |role: Option<Role>| role.is_none_or(|role| role == Role::Owner);
        let changed = match step {
            Step::Invite { user, role, by, .. } => {
                if found.is_some() || self.0.iter().any(|member| member.email == user.email) {
                    return Err(PeopleError::Already);
                }
                if *role == Role::Owner && *by != Role::Owner {
                    return Err(PeopleError::OnlyOwners);
                }
                let (email, one_time) = (user.email.clone(), user.one_time);
                Some(Member {
                    user: user.id,
                    email,
                    role: *role,
                    invited_at_us: at_us,
                    accepted_at_us: None,
                    one_time,
                    is_outdated: false,
                    groups: Vec::new(),
                })
            }
            Step::Accept { .. } => {
                let member = found.filter(|member| !member.is_outdated).ok_or(PeopleError::Nobody)?;
                Some(Member { accepted_at_us: Some(member.accepted_at_us.unwrap_or(at_us)), ..member })
            }
            Step::SpendPassword { .. } => {
                let member = found.filter(|member| member.one_time).ok_or(PeopleError::Nobody)?;
                Some(Member { one_time: false, ..member })
            }
            Step::IssuePassword { by, .. } => {
                let member = found.ok_or(PeopleError::Nobody)?;
                if member.role == Role::Owner && *by != Role::Owner {
                    return Err(PeopleError::OnlyOwners);
                }
                if !member.one_time {
                    return Err(PeopleError::HasPassword);
                }
                Some(Member { is_outdated: false, ..member })
            }
            Step::SetGroups { groups, by, .. } => {
                let member = found.ok_or(PeopleError::Nobody)?;
                if member.role == Role::Owner && *by != Role::Owner {
                    return Err(PeopleError::OnlyOwners);
                }
                Some(Member { groups: groups.clone(), ..member })
            }
            Step::SetRole { role, by, .. } => {
                let member = found.ok_or(PeopleError::Nobody)?;
                if (member.role == Role::Owner || *role == Role::Owner) && *by != Role::Owner {
                    return Err(PeopleError::OnlyOwners);
                }
                if *role != Role::Owner && self.is_last_owner(&member) {
                    return Err(PeopleError::LastOwner);
                }
                Some(Member { role: *role, ..member })
            }
            Step::Remove { by, .. } => {
                let member = found.ok_or(PeopleError::Nobody)?;
                if member.role == Role::Owner && !owns(*by) {
                    return Err(PeopleError::OnlyOwners);
                }
                if self.is_last_owner(&member) {
                    return Err(PeopleError::LastOwner);
                }
                None
            }
        };
        if let Some(place) = place {
            self.0.swap_remove(place);
        }
        self.0.extend(changed.clone());
        Ok(changed)
    }

    /// Whoever did not accept yet can't look after an org.
    fn is_last_owner(&self, member: &Member) -> bool {
        let owns = |other: &Member| other.role == Role::Owner && other.accepted_at_us.is_some();
        owns(member) && !self.0.iter().any(|other| other.user != member.user && owns(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u128) -> Arc<User> {
        let (id, org) = (Uuid::from_u128(number), Uuid::nil());
        let email = format!("{number}@example.com");
        let (password_hash, one_time) = (String::new(), true);
        Arc::new(User { id, org, email, password_hash, one_time, created_at_us: 0 })
    }

    fn invite(number: u128, role: Role, by: Role) -> Step {
        Step::Invite { user: user(number), is_new: true, role, by }
    }

    #[test]
    fn an_org_keeps_an_owner_who_accepted() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut people = People::default();
        people.take(&invite(1, Role::Owner, Role::Owner), 1).unwrap();
        people.take(&Step::Accept { user: first }, 2).unwrap();
        people.take(&invite(2, Role::Owner, Role::Owner), 3).unwrap();
        let (leave, step_down) = (
            Step::Remove { user: first, by: None },
            Step::SetRole { user: first, role: Role::Admin, by: Role::Owner },
        );
        for step in [&leave, &step_down] {
            assert_eq!(people.take(step, 4).unwrap_err(), PeopleError::LastOwner);
        }
        people.take(&Step::Accept { user: second }, 5).unwrap();
        assert!(people.take(&leave, 6).unwrap().is_none());
        assert_eq!(people.take(&leave, 7).unwrap_err(), PeopleError::Nobody);
    }

    #[test]
    fn only_owners_decide_who_is_an_owner() {
        let (owner, member) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut people = People::default();
        for step in [invite(1, Role::Owner, Role::Owner), invite(2, Role::Member, Role::Admin)] {
            people.take(&step, 1).unwrap();
        }
        let by = Role::Admin;
        for step in [
            invite(3, Role::Owner, by),
            Step::SetRole { user: member, role: Role::Owner, by },
            Step::SetRole { user: owner, role: Role::Viewer, by },
            Step::Remove { user: owner, by: Some(by) },
        ] {
            assert_eq!(people.take(&step, 2).unwrap_err(), PeopleError::OnlyOwners, "{step:?}");
        }
        assert_eq!(people.take(&invite(2, Role::Viewer, by), 2).unwrap_err(), PeopleError::Already);
        assert!(people.take(&Step::Remove { user: member, by: Some(by) }, 2).unwrap().is_none());
    }

    #[test]
    fn a_password_that_was_made_up_is_good_once() {
        let mut people = People::default();
        people.take(&invite(1, Role::Member, Role::Admin), 1).unwrap();
        let spend = Step::SpendPassword { user: Uuid::from_u128(1), hash: String::new() };
        assert!(people.take(&spend, 2).is_ok());
        assert_eq!(people.take(&spend, 3).unwrap_err(), PeopleError::Nobody);
    }

    #[test]
    fn only_owners_give_an_owner_a_password() {
        let mut people = People::default();
        people.take(&invite(1, Role::Owner, Role::Owner), 1).unwrap();
        let issue = |by| Step::IssuePassword { user: Uuid::from_u128(1), hash: String::new(), by };
        assert_eq!(people.take(&issue(Role::Admin), 2).unwrap_err(), PeopleError::OnlyOwners);
        assert!(people.take(&issue(Role::Owner), 2).is_ok());
        people.take(&Step::SpendPassword { user: Uuid::from_u128(1), hash: String::new() }, 2).unwrap();
        assert_eq!(people.take(&issue(Role::Owner), 3).unwrap_err(), PeopleError::HasPassword);
    }

    #[test]
    fn groups_are_names_in_order_and_no_roles() {
        let of = |names: &[&str]| groups(names.iter().copied().map(str::to_owned).collect());
        assert_eq!(of(&["legal", "finance", "legal"]).unwrap(), ["finance", "legal"]);
        let many: Vec<_> = (0..33).map(|number| number.to_string()).collect();
        assert!(groups(many).is_err());
        for wrong in ["", " a", "a\n", "owner", "approver", &"x".repeat(65)] {
            assert!(of(&["finance", wrong]).is_err(), "{wrong:?}");
        }
    }
}
