//! An ordinary program that talks to PostgreSQL through tokio-postgres; nothing in it knows where it runs.

use std::error::Error;
use std::net::ToSocketAddrs;

use tokio::net::TcpStream;
use tokio_postgres::{Config, NoTls};

/// Takes the address of the server and a connection string; writes the answers of the server to stdout.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (address, config) = (words.next().ok_or("no address")?, words.next().ok_or("no connection string")?);
    // tokio looks names up on another thread, and WASI has none.
    let address = address.to_socket_addrs()?.next().ok_or("no such host")?;
    let stream = TcpStream::connect(address).await?;
    let (client, connection) = config.parse::<Config>()?.connect_raw(stream, NoTls).await?;
    let driving = tokio::spawn(connection);
    client.batch_execute("create temporary table parts (name text, price int)").await?;
    let inserted = client
        .execute("insert into parts select 'part ' || n, n * $1 from generate_series(1, 1000) n", &[&3_i32])
        .await?;
    let total: i64 = client.query_one("select sum(price) from parts", &[]).await?.get(0);
    println!("{inserted} parts for {total}");
    let refused = client.query("select no_such_column from parts", &[]).await.expect_err("no such column");
    println!("{}", refused.as_db_error().map(|error| error.code().code()).unwrap_or_default());
    if words.next().as_deref() == Some("sleep") {
        client.query("select pg_sleep(600)", &[]).await?;
    }
    drop(client);
    driving.await.expect("it ends with its client")?;
    println!("closed");
    Ok(())
}
