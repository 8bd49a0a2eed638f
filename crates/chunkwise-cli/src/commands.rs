//! What the command line can do, for programs.

use crate::args::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use serde_json::{Value, json};

/// Every command with its arguments, from the definitions of the command line:
/// `{"name", "about", "options": […], "commands": [{"name", "about", "arguments": […]}]}`. `options` are those of every
/// command. An argument has `name`, `long`, `short`, `help`, `value_name`, `takes_value`, `repeats`, `required`, `default`
/// and `values`, where it takes only some.
pub fn commands() -> Value {
    let mut cli = Cli::command();
    cli.build();
    let own = |command: &Command, global: bool| -> Vec<Value> {
        command.get_arguments().filter(|arg| arg.is_global_set() == global && !is_built_in(arg)).map(argument).collect()
    };
    let commands: Vec<Value> = cli
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .map(|command| {
            json!({
                "name": command.get_name(),
                "about": command.get_about().map(ToString::to_string),
                "arguments": own(command, false),
            })
        })
        .collect();
    json!({
        "name": cli.get_name(),
        "about": cli.get_about().map(ToString::to_string),
        "options": own(&cli, true),
        "commands": commands,
    })
}

/// `--help` and `--version`.
fn is_built_in(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

fn argument(arg: &Arg) -> Value {
    let takes = arg.get_action().takes_values();
    let names = arg.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
    let repeats = many || matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let values: Vec<String> = match takes {
        true => arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        false => Vec::new(),
    };
    json!({
        "name": arg.get_id().as_str(),
        "long": arg.get_long(),
        "short": arg.get_short(),
        "help": arg.get_help().map(ToString::to_string),
        "value_name": names.filter(|_| takes),
        "takes_value": takes,
        "repeats": repeats,
        "required": arg.is_required_set(),
        "default": (takes && !defaults.is_empty()).then_some(defaults),
        "values": (!values.is_empty()).then_some(values),
    })
}
