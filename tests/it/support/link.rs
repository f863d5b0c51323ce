//! A client's socket, bare or with TLS around it: what [`super::message::Reader`] reads from and [`super::client::Wire`]
//! writes to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ClientConnection;

/// One end of a connection; clones are the same end.
#[derive(Clone)]
pub struct Link {
    socket: Arc<TcpStream>,
    tls: Option<Arc<Mutex<ClientConnection>>>,
}

impl From<TcpStream> for Link {
    fn from(socket: TcpStream) -> Self {
        Self { socket: Arc::new(socket), tls: None }
    }
}

impl Link {
    /// Speaks TLS over it, handshake included.
    pub fn secure(socket: TcpStream, mut tls: ClientConnection) -> io::Result<Self> {
        while tls.is_handshaking() {
            tls.complete_io(&mut &socket)?;
        }
        Ok(Self { socket: Arc::new(socket), tls: Some(Arc::new(Mutex::new(tls))) })
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What is known of its TLS.
    pub fn tls(&self) -> Option<MutexGuard<'_, ClientConnection>> {
        self.tls.as_ref().map(|tls| tls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// At least one byte, or 0 at the end. An end without TLS's farewell is an error.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let Some(mut tls) = self.tls() else { return (&*self.socket).read(into) };
        loop {
            match tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            tls.read_tls(&mut &*self.socket)?;
            tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            flush(&mut tls, &self.socket)?;
        }
    }

    pub fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(mut tls) = self.tls() else { return (&*self.socket).write_all(bytes) };
        while !bytes.is_empty() {
            let count = tls.writer().write(bytes)?;
            bytes = &bytes[count..];
            flush(&mut tls, &self.socket)?;
        }
        Ok(())
    }

    /// Ends our side: TLS's farewell, if there is TLS, and FIN.
    pub fn finish_sending(&self) {
        if let Some(mut tls) = self.tls() {
            tls.send_close_notify();
            let _ = flush(&mut tls, &self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

fn flush(tls: &mut ClientConnection, socket: &TcpStream) -> io::Result<()> {
    let mut socket = socket;
    while tls.wants_write() {
        tls.write_tls(&mut socket)?;
    }
    Ok(())
}
