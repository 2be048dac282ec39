//! Acts about people in a batch: who belongs to the org, and what else is to be found in its ledger.

use uuid::Uuid;

use super::{Draft, Note, Refused};
use crate::accounts::Member;
use crate::accounts::people::{People, Step};
use crate::canonical::Object;
use crate::db::Change;

const SOURCE: &str = "/v1/members";

impl Draft<'_> {
    /// Takes in what was read from the database for this batch.
    pub fn know_people(&mut self, members: Vec<Member>) {
        self.people = Some(People(members));
    }

    /// Changes who belongs to the org: all of these steps, or none.
    pub fn change_people(&mut self, now_us: i64, steps: Vec<Step>, actor: &str) -> Result<(), Refused> {
        let people = self.people.get_or_insert_default();
        let mut taken = Vec::new();
        for step in steps {
            let member = people.take(&step, now_us)?;
            taken.push((step, member));
        }
        for (step, member) in taken {
            let user = step.user();
            let content = Object::new().text("user", user.to_string());
            let content = content.optional_text("role", member.as_ref().map(|member| member.role.name()));
            self.note(now_us, "member", SOURCE, step.name(), actor.to_owned(), content);
            match step {
                Step::Invite { user, is_new: true, .. } => self.changes.push(Change::User(user)),
                Step::SpendPassword { user } => {
                    self.changes.push(Change::Password { user, hash: String::new() });
                }
                _ => {}
            }
            self.changes.push(match member {
                Some(member) => Change::Member(member),
                None => Change::MemberRemoved(user),
            });
        }
        Ok(())
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
