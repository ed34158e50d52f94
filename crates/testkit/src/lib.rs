//! Scripted clients and servers, certificates, ports and waiting, for tests only.
