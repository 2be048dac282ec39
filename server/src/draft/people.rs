//! Acts about people in a batch: who belongs to the org, and what else is to be found in its ledger.

use uuid::Uuid;

use super::{Draft, Note, Refused};
use crate::accounts::Member;
use crate::accounts::keys::Keyring;
use crate::accounts::people::{People, Step};
use crate::canonical::{Object, Value};
use crate::db::Change;

const SOURCE: &str = "/v1/members";

impl Draft<'_> {
    /// Takes in what was read from the database for this batch.
    pub fn know_people(&mut self, members: Vec<Member>) {
        self.people = Some(People(members));
    }

    /// Takes in that an account does not belong to the org any more.
    pub fn know_gone(&mut self, account: Uuid) {
        self.gone.push(account);
    }

    /// Changes who belongs to the org: all of these steps, or none. Tells which API keys ended with that.
    pub fn change_people(
        &mut self,
        now_us: i64,
        keys: &Keyring,
        steps: Vec<Step>,
        actor: &str,
    ) -> Result<Vec<Uuid>, Refused> {
        let people = self.people.get_or_insert_default();
        let mut taken = Vec::new();
        for step in steps {
            let member = people.take(&step, now_us)?;
            taken.push((step, member));
        }
        let (mut ended, mut members) = (Vec::new(), Vec::new());
        for (step, member) in taken {
            let user = step.user();
            let content = Object::new().text("user", user.to_string());
            let content = content.optional_text("role", member.as_ref().map(|member| member.role.name()));
            let content = match &step {
                Step::SetGroups { groups, .. } => {
                    let names = groups.iter().map(|name| Value::Text(name.clone().into()));
                    content.value("groups", Value::List(names.collect()))
                }
                _ => content,
            };
            self.note(now_us, "member", SOURCE, step.name(), actor.to_owned(), content);
            match step {
                Step::Invite { user, is_new: true, .. } => self.changes.push(Change::User(user)),
                Step::SpendPassword { user, hash } => self.changes.push(Change::PasswordSpent { user, hash }),
                Step::IssuePassword { user, hash, .. } => {
                    self.changes.push(Change::PasswordIssued { user, hash });
                }
                _ => {}
            }
            match member {
                Some(member) => members.push(Change::Member(member)),
                None => {
                    members.push(Change::MemberRemoved(user));
                    ended.extend(self.end_keys(now_us, keys, user, actor));
                }
            }
        }
        // Everybody locks the row of the person first, so that two orgs don't wait for one another.
        self.changes.extend(members);
        Ok(ended)
    }

    /// Makes the API keys of somebody who is gone worthless: they know their secrets.
    fn end_keys(&mut self, now_us: i64, keys: &Keyring, user: Uuid, actor: &str) -> Vec<Uuid> {
        let theirs = keys.of(self.view.id).into_iter().filter(|key| key.account == user);
        let ended: Vec<_> = theirs.map(|key| key.id).collect();
        ended.iter().for_each(|id| self.revoke_key(now_us, *id, actor.to_owned()));
        ended
    }

    /// Gives a person another password, by its hash.
    pub fn set_password(&mut self, now_us: i64, user: Uuid, hash: String) {
        let content = Object::new().text("user", user.to_string());
        self.note(now_us, "member", "/api/v1/auth/password", "password_set", format!("user:{user}"), content);
        self.changes.push(Change::Password { user, hash });
    }

    /// Records an act that changes nothing.
    pub fn take_note(&mut self, now_us: i64, note: Note) {
        let Note { kind, source, action, actor, content } = note;
        let add = |object: Object<'static>, (name, text): (&'static str, String)| object.text(name, text);
        let content = content.into_iter().fold(Object::new(), add);
        self.note(now_us, kind, source, action, actor, content);
    }
}
