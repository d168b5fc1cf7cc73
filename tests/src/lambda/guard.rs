//! Sees to it that no instance outlives the emulator, whatever ends it: a child process whose standard
//! input is a pipe from here kills what is left when that closes, SIGKILL of the emulator included.
//! Never ends a process group that the emulator did not start.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process_group};

/// Keeps the list of groups and kills those left once its input ends.
const SCRIPT: &str = r#"
groups=' '
while read -r sign group; do
    case $sign in
        +) groups="$groups$group " ;;
        -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
    esac
done
for group in $groups; do kill -KILL -- "-$group" 2>/dev/null; done
"#;

pub(crate) struct Guard(Mutex<Child>);

impl Guard {
    pub(crate) fn start() -> std::io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C on the terminal must not end it first.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map(|child| Self(Mutex::new(child)))
    }

    pub(crate) fn watch(&self, group: Pid) {
        self.tell('+', group);
    }

    pub(crate) fn forget(&self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&self, sign: char, group: Pid) {
        let mut child = self.0.lock().expect("nothing panics while it holds this");
        if let Some(input) = &mut child.stdin {
            // A guard that was killed guards no more; instances still end with their emulator's handle.
            let _ = writeln!(input, "{sign} {}", group.as_raw_nonzero());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let child = self
            .0
            .get_mut()
            .expect("nothing panics while it holds this");
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

/// Sends a signal to a whole group; one that is gone is none.
pub(crate) fn signal(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}
