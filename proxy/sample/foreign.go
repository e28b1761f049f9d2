package sample

// What HAProxy 3.x knows and this version does not, so that the refusal can say so. A word ending in * stands for all that begin with
// it. A name leaves these lists when it gets a row in a table: the rows are looked at first.
const (
	foreignFetches = `accept_date acl act_conn avg_queue base32 base32+src baseq bc.* bc_* be_conn* be_id be_max_retries be_queue_timeout
		be_server_timeout be_sess_rate be_t* bin bs.* bytes_in bytes_out capture.* connslots cook cook_* cookie cpu_* cur_* date date_us distcc_*
		dst_conn dst_is_local dump_all_vars env fc.* fc_* fcgi.* fe_client_timeout fe_conn fe_defbe fe_id fe_req_rate fe_sess_rate fe_tarpit_timeout
		fs.* hdr_ip hostname http_auth http_auth_* http_first_req internal.* ipv4 ipv6 last_entity last_rule_* lat_* lua.* meth nbproc nbsrv
		payload payload_lv pid prio_* proc queue quic_enabled rdp_cookie rdp_cookie_cnt rep_ssl_hello_type request_date resp_ver
		req.body req.body_* req.bytes_* req.cook req.cook_* req.fhdr_cnt req.hdr_ip req.hdr_names req.hdrs req.hdrs_bin req.len req.payload req.payload_lv
		req.rdp_* req.ssl_* req.timer.* req_len req_ssl_* res.body res.body_* res.bytes_* res.cache_* res.comp res.comp_algo res.cook res.cook_*
		res.fhdr_cnt res.hdr_ip res.hdr_names res.hdrs res.hdrs_bin res.len res.payload res.payload_lv res.ssl_* res.timer.* res.ver
		sc0_* sc1_* sc2_* sc_* scook scook_* server_status shdr_ip so_id so_name spoe.* src_bytes* src_clr* src_conn* src_get* src_gl* src_gpc*
		src_http* src_inc* src_is_local src_kbytes* src_sess* src_updt* srv_conn* srv_id srv_is_up srv_iweight srv_queue srv_sess_rate srv_uweight
		srv_weight ssl_bc ssl_bc_* ssl_c_* ssl_f_* ssl_fc_* ssl_s_* stopping table_* term_events tgroup thread txn.* unique-id uptime url32
		url32+src url_ip url_param url_port urlp urlp_* var wait_end waiting_entity`
	foreignConverters = `add_item aes_* and base2 be2dec be2hex bool capture-re* concat cpl crc32* cut_crlf debug digest div djb2 eth.*
		even fe_exists fix_* has_ctl hex hex2i hmac host_only htonl http_date iif in_table ip.* ipmask json json_query jwt_* language
		le2dec ltime map map_* mod mqtt_* ms_* mul nbsrv neg not odd or param port_only protobuf reverse* rfc7239_* sdbm secure_memcmp
		set-var sha1 sha2 srv_is_up srv_queue strcmp table_* tcp.* ub64* ungrpc unset-var url_enc us_* utime when wt6 x509_* xor
		xxh* lua.* da-* 51d* wurfl* ipv4 ipv6`
)
