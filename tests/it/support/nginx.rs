//! Debian's nginx in a temporary directory, as a peer and as an upstream.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::edge::free_address;
use super::process::Process;
use super::wait::eventually;

/// A running nginx.
pub struct Nginx {
    pub address: SocketAddr,
    pub directory: tempfile::TempDir,
    process: Process,
}

const BINARY: &str = "/usr/sbin/nginx";

impl Nginx {
    /// With these directives inside `server`; `{dir}` is its directory.
    pub fn start(server: &str) -> Self {
        Self::start_on("", server)
    }

    /// The same with parameters of `listen` (`ssl`).
    pub fn start_on(listen: &str, server: &str) -> Self {
        Self::start_at(free_address(), listen, server)
    }

    /// The same at this address.
    pub fn start_at(address: SocketAddr, listen: &str, server: &str) -> Self {
        assert!(Path::new(BINARY).exists(), "nginx is missing: apt-get install nginx-light");
        let directory = tempfile::Builder::new().prefix("countersign-nginx-").tempdir().expect("a directory");
        let dir = directory.path().display().to_string();
        let text = TEMPLATE.replace("{server}", server).replace("{address}", &format!("{address} {listen}"));
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, text.replace("{dir}", &dir)).expect("write nginx.conf");
        let errors = format!("{dir}/error.log");
        let process = Process::spawn(Command::new(BINARY).arg("-c").arg(&file).args(["-p", &dir, "-e", &errors]));
        eventually("nginx accepts", || {
            assert!(process.ended().is_none(), "nginx: {}", process.stderr());
            TcpStream::connect(address).ok()
        });
        Self { address, directory, process }
    }

    /// Its access log's lines.
    pub fn access_lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- nginx\n{}", self.process.stderr());
        }
    }
}

const TEMPLATE: &str = "
daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
events { worker_connections 256; }
http {
  access_log {dir}/access.log combined;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  types { text/plain txt; text/html html; }
  server { listen {address}; {server} }
}
";
