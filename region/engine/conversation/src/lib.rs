//! What a conversation's request must hold, and how personal data is taken out of it. Free of any protocol.
//!
//! One idea: both versions of the API and both protocols end in one [`Ask`]; what is to be scrubbed is scrubbed before a
//! driver sees it, and what comes back before a caller does. Must never log a message.

mod error;
mod scrub;

use std::collections::HashMap;

use palladium_component::conversation::{Answer, Message, Request, Tool};

pub use error::ConversationError;
pub use scrub::scrub;

/// Messages that are treated alike.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether personal data is taken out of them.
    pub scrub: bool,
}

/// One call of the API.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// The component.
    pub component: String,
    /// What is said.
    pub inputs: Vec<Input>,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// `auto`, `none`, `required`, the name of a tool, or nothing.
    pub tool_choice: String,
    /// How freely the model answers.
    pub temperature: f64,
    /// The form that the answer must have, a JSON schema as text; empty = any.
    pub response_format: String,
    /// Names the conversation.
    pub context: String,
    /// Settings of this call.
    pub metadata: HashMap<String, String>,
    /// Whether personal data is taken out of the answer.
    pub scrub_answer: bool,
}

impl Ask {
    /// What the driver is asked.
    ///
    /// # Errors
    /// When nothing is said, or a tool is chosen that is not there.
    pub fn into_request(self) -> Result<Request, ConversationError> {
        if self.inputs.is_empty() {
            return Err(ConversationError::Nothing {
                component: self.component,
            });
        }
        let tool_choice = self.tool_choice()?;
        let mut messages = Vec::new();
        for input in self.inputs {
            messages.extend(input.messages.into_iter().map(|mut message| {
                if input.scrub {
                    message.content = message.content.iter().map(|text| scrub(text)).collect();
                }
                message
            }));
        }
        Ok(Request {
            messages,
            tools: self.tools,
            tool_choice,
            temperature: self.temperature,
            response_format: self.response_format,
            context: self.context,
            metadata: self.metadata,
        })
    }

    fn tool_choice(&self) -> Result<String, ConversationError> {
        let wrong = |reason: &str| {
            Err(ConversationError::Invalid {
                component: self.component.clone(),
                reason: format!(
                    "{reason}: it must be 'auto', 'none', 'required' or the name of a tool that may be used"
                ),
            })
        };
        match self.tool_choice.as_str() {
            "" if !self.tools.is_empty() => Ok("auto".to_owned()),
            "" | "auto" | "none" => Ok(self.tool_choice.clone()),
            "required" if self.tools.is_empty() => wrong("a tool choice needs tools"),
            "required" => Ok(self.tool_choice.clone()),
            name if self.tools.iter().any(|tool| tool.name == name) => Ok(name.to_owned()),
            _ if self.tools.is_empty() => Ok(self.tool_choice.clone()),
            _ => wrong("the tool choice was not found"),
        }
    }
}

/// Takes personal data out of an answer.
pub fn scrub_answer(answer: &mut Answer) {
    for choice in &mut answer.choices {
        choice.content = scrub(&choice.content);
    }
}

#[cfg(test)]
mod tests {
    use palladium_component::conversation::Role;

    use super::*;

    fn ask(tool_choice: &str, tools: &[&str]) -> Ask {
        let message = Message {
            role: Role::User,
            content: vec!["I am a@b.com".into()],
            tool_calls: Vec::new(),
            tool_id: String::new(),
            name: String::new(),
        };
        let tool = |name: &&str| Tool {
            name: (*name).to_owned(),
            ..Tool::default()
        };
        Ask {
            inputs: vec![Input {
                messages: vec![message],
                scrub: true,
            }],
            tools: tools.iter().map(tool).collect(),
            tool_choice: tool_choice.to_owned(),
            ..Ask::default()
        }
    }

    #[test]
    fn a_tool_choice_needs_its_tool() {
        for (choice, tools, expected) in [
            ("", &[][..], Some("")),
            ("", &["t"][..], Some("auto")),
            ("required", &[][..], None),
            ("required", &["t"][..], Some("required")),
            ("t", &["t"][..], Some("t")),
            ("u", &["t"][..], None),
        ] {
            let chosen = ask(choice, tools)
                .into_request()
                .ok()
                .map(|request| request.tool_choice);
            assert_eq!(chosen.as_deref(), expected, "{choice} of {tools:?}");
        }
        assert!(Ask::default().into_request().is_err(), "nothing said");
    }

    #[test]
    fn what_goes_to_the_model_is_scrubbed() {
        let request = ask("", &[]).into_request().unwrap();
        assert_eq!(request.messages[0].content, ["I am <EMAIL_ADDRESS>"]);
    }
}
