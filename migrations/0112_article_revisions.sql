-- Every state an article was in, whoever wrote it.
create table article_revisions (
    article_id uuid not null references articles (id) on delete cascade,
    number     integer not null,
    title      text not null,
    body       text not null,
    status     text not null,
    written_by uuid references people (id),
    written_at timestamptz not null,
    primary key (article_id, number)
);
create function keep_article_revision() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and (old.title, old.body, old.status) is not distinct from (new.title, new.body, new.status) then
        return null;
    end if;
    insert into article_revisions (article_id, number, title, body, status, written_by, written_at)
    select new.id, coalesce(max(number), 0) + 1, new.title, new.body, new.status, new.updated_by, new.updated_at
    from article_revisions where article_id = new.id;
    return null;
end $$;
create trigger articles_keep_revision after insert or update on articles
    for each row execute function keep_article_revision();
