//! Whatever a file holds that a configuration names (maps, lists of an ACL, answers), it is read to its
//! end.
#![no_main]

use config::source::Source;
use libfuzzer_sys::fuzz_target;

/// Every file has the same content.
struct Files<'a>(&'a [u8]);

impl config::Surroundings for Files<'_> {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn read(&self, _path: &str) -> Result<String, String> {
        String::from_utf8(self.0.to_vec()).map_err(|error| error.to_string())
    }
    fn read_bytes(&self, _path: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.to_vec())
    }
}

const FILE: &str = "\
backend b
    mode http
    acl name hdr(host) -i -f names.lst
    acl address src -f addresses.lst
    acl number dst_port -m int -f numbers.lst
    acl pattern path -m reg -f patterns.lst
    http-request set-header x %[hdr(host),map(names.map,none)]
    http-request set-header x %[src,map_ip(addresses.map)]
    http-request set-header x %[path,map_reg(patterns.map)]
    http-request deny errorfile denied.http if { path -f paths.lst }
    http-request return status 200 content-type text/plain lf-file page.txt
    errorfile 503 down.http
    server s 127.0.0.1:80
";

fuzz_target!(|data: &[u8]| {
    let _ = config::load(&[Source::new("fuzzed", FILE)], &Files(data));
});
