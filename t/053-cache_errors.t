# What an administrator gets wrong about caches, files and further tries.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: a zone without a path
--- config_error
server { location / { wsgi_cache zone; } }
--- error: "wsgi_cache" zone "zone" is unknown



=== TEST 2: two caches
--- config_error
server { wsgi_cache off; wsgi_cache off; }
--- error: "wsgi_cache" is duplicate



=== TEST 3: a cache without a name
--- config_error
wsgi_cache "";
--- error: zone



=== TEST 4: a cache beside a store
--- config_error
wsgi_store on; wsgi_cache zone;
--- error: "wsgi_cache" is incompatible with "wsgi_store"



=== TEST 5: a store beside a cache
--- config_error
wsgi_cache zone; wsgi_store on;
--- error: "wsgi_store" is incompatible with "wsgi_cache"



=== TEST 6: two stores
--- config_error
wsgi_store on; wsgi_store off;
--- error: "wsgi_store" is duplicate



=== TEST 7: a path in a server
--- config_error
server { wsgi_cache_path a keys_zone=b:1m; }
--- error: "wsgi_cache_path" directive is not allowed here



=== TEST 8: a path without a zone
--- config_error
wsgi_cache_path a levels=1;
--- error: "wsgi_cache_path" must have "keys_zone" parameter



=== TEST 9: a path with a bad zone
--- config_error
wsgi_cache_path a keys_zone=b;
--- error: invalid keys zone size "keys_zone=b"



=== TEST 10: a path with a small zone
--- config_error
wsgi_cache_path a keys_zone=b:1k;
--- error: keys zone "keys_zone=b:1k" is too small



=== TEST 11: a path with bad levels
--- config_error
wsgi_cache_path a levels=4 keys_zone=b:1m;
--- error: invalid "levels" "levels=4"



=== TEST 12: a path with a bad parameter
--- config_error
wsgi_cache_path a keys_zone=b:1m nonsense;
--- error: invalid parameter "nonsense"



=== TEST 13: a path with a bad time
--- config_error
wsgi_cache_path a keys_zone=b:1m inactive=x;
--- error: invalid inactive value "inactive=x"



=== TEST 14: a path with a bad size
--- config_error
wsgi_cache_path a keys_zone=b:1m max_size=x;
--- error: invalid max_size value "max_size=x"



=== TEST 15: a key with an unknown variable
--- config_error
wsgi_cache_key $nonsense; wsgi_cache_path /tmp/none keys_zone=zone:1m; server { wsgi_cache zone; }
--- nowhere
--- error: unknown "nonsense" variable



=== TEST 16: two keys
--- config_error
wsgi_cache_key a; wsgi_cache_key b;
--- error: "wsgi_cache_key" is duplicate



=== TEST 17: a bad time
--- config_error
wsgi_cache_valid 200 soon;
--- error: invalid time value "soon"



=== TEST 18: a bad status
--- config_error
wsgi_cache_valid 99 1h;
--- error: invalid status "99"



=== TEST 19: bad uses
--- config_error
wsgi_cache_min_uses few;
--- error: "wsgi_cache_min_uses" directive invalid number



=== TEST 20: a bad offset
--- config_error
wsgi_cache_max_range_offset far;
--- error: "wsgi_cache_max_range_offset" directive invalid value



=== TEST 21: a bad method
--- config_error
wsgi_cache_methods DELETE;
--- error: invalid value "DELETE"



=== TEST 22: a bad failure
--- config_error
wsgi_cache_use_stale http_418;
--- error: invalid value "http_418"



=== TEST 23: a bad failure to go on after
--- config_error
wsgi_next_upstream http_502;
--- error: invalid value "http_502"



=== TEST 24: bad tries
--- config_error
wsgi_next_upstream_tries many;
--- error: "wsgi_next_upstream_tries" directive invalid number



=== TEST 25: a bad time for tries
--- config_error
wsgi_next_upstream_timeout long;
--- error: "wsgi_next_upstream_timeout" directive invalid value



=== TEST 26: a bad time for the lock
--- config_error
wsgi_cache_lock_timeout long;
--- error: "wsgi_cache_lock_timeout" directive invalid value



=== TEST 27: a bad age of the lock
--- config_error
wsgi_cache_lock_age old;
--- error: "wsgi_cache_lock_age" directive invalid value



=== TEST 28: bad access
--- config_error
wsgi_store_access user:x;
--- error: invalid value "user:x"



=== TEST 29: a predicate with an unknown variable
--- config_error
wsgi_cache_bypass $nonsense;
--- nowhere
--- error: unknown "nonsense" variable



=== TEST 30: another one
--- config_error
wsgi_no_cache $nonsense;
--- nowhere
--- error: unknown "nonsense" variable



=== TEST 31: wsgi_cache_lock is a flag
--- config_error
wsgi_cache_lock maybe;
--- error: invalid value "maybe" in "wsgi_cache_lock" directive, it must be "on" or "off"



=== TEST 32: wsgi_cache_revalidate is a flag
--- config_error
wsgi_cache_revalidate maybe;
--- error: invalid value "maybe" in "wsgi_cache_revalidate" directive, it must be "on" or "off"



=== TEST 33: wsgi_cache_background_update is a flag
--- config_error
wsgi_cache_background_update maybe;
--- error: invalid value "maybe" in "wsgi_cache_background_update" directive, it must be "on" or "off"



=== TEST 34: wsgi_pass_request_headers is a flag
--- config_error
wsgi_pass_request_headers maybe;
--- error: invalid value "maybe" in "wsgi_pass_request_headers" directive, it must be "on" or "off"



=== TEST 35: wsgi_pass_request_body is a flag
--- config_error
wsgi_pass_request_body maybe;
--- error: invalid value "maybe" in "wsgi_pass_request_body" directive, it must be "on" or "off"
