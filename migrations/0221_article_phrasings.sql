-- Ways in which customers ask for a passage: its heading, and what its writer noted. A question is compared with them by
-- meaning, as it is with the passage itself.
create table article_phrasings (
    id         bigint generated always as identity primary key,
    passage_id uuid not null references article_passages (id) on delete cascade,
    text       text not null,
    embedding  real[] not null
);
create index article_phrasings_passage on article_phrasings (passage_id);
