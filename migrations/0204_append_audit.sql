-- One round trip appends to the chain: fewer steps while its end is locked. The hash is the one of app/src/audit/chain.rs:
-- SHA-256 over the previous hash and the canonical entry, a JSON array whose first element is the number; `rest` is the
-- array after it.
create function append_audit(at timestamptz, actor_kind text, actor_id text, actor_name text, action text,
                             subject_kind text, subject_id text, details text, rest text)
returns bigint language plpgsql as $$
declare
    head audit_head%rowtype;
    own bytea;
begin
    select * into strict head from audit_head for update;
    own := sha256(head.hash || convert_to('[' || (head.number + 1) || ',' || rest, 'UTF8'));
    insert into audit_entries
        values (head.number + 1, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, details, head.hash, own);
    update audit_head set number = head.number + 1, hash = own;
    return head.number + 1;
end $$;
