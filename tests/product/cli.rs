//! The command line and the settings.

mod clean_output;
mod cli_dev;
mod cli_follow;
mod cli_run;
mod cli_terminal;
mod cli_test;
mod cli_tour;
mod commands;
mod doctor;
mod first_steps;
mod many;
mod pages;
mod settings;
mod templates;
